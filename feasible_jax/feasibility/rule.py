"""What a selection rule is: given a proposed update and the evidence, which part may pass."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from feasible_jax.feasibility.constraints import Constraint


class Evidence(NamedTuple):
    """What is known of one objective, leaf by leaf, in the order of ``Proposal.updates``.

    Attributes:
      mean: mean gradients, each shaped like its update.
      variance: variances of one observation, each shaped like its update; empty for rules that
        ask for means alone.
      count: number of observations.
      per_example: ``(B, *shape)`` stacks for the rules that ask for them, empty for others.

    >>> import jax.numpy as jnp
    >>> Evidence(mean=(jnp.zeros(3),), variance=(jnp.ones(3),), count=16).per_example
    ()
    """

    mean: tuple[jax.Array, ...]
    variance: tuple[jax.Array, ...]
    count: Any
    per_example: tuple[jax.Array, ...] = ()


class Proposal(NamedTuple):
    """An update on the table: what a rule sees of a step.

    Attributes:
      paths: each leaf's name, as in ``"dense/kernel"``.
      updates: the leaves of the update that would be added to the parameters.
      constraints: what must hold.
      evidence: what is known of each constraint's objective, by its name.
      critical: the critical value of each constraint's one-sided test, by its name.
      step: the number of steps before this one, an int32 scalar.

    >>> import jax.numpy as jnp
    >>> Proposal(("w",), (jnp.ones(2),), (), {}, {}, jnp.int32(0)).paths
    ('w',)
    """

    paths: tuple[str, ...]
    updates: tuple[jax.Array, ...]
    constraints: tuple[Constraint, ...]
    evidence: dict[str, Evidence]
    critical: dict[str, jax.Array]
    step: jax.Array


class Selection(NamedTuple):
    """A rule's verdict.

    Attributes:
      keep: which coordinates pass, a boolean array per leaf that broadcasts to it.
      passes: which coordinates satisfy each constraint by itself, by its name, likewise.

    >>> import jax.numpy as jnp
    >>> mask = (jnp.array([True, False]),)
    >>> Selection(keep=mask, passes={"retain": mask}).keep[0].tolist()
    [True, False]
    """

    keep: tuple[jax.Array, ...]
    passes: dict[str, tuple[jax.Array, ...]]


class Rule(NamedTuple):
    """A selection rule, pluggable into ``feasible_updates(rule=...)``.

    Attributes:
      name: how tables call it.
      needs: the evidence it asks for: ``"moments"``, ``"mean"``, ``"per_example"`` or
        ``"nothing"``; whoever supplies evidence may supply the cheapest kind that will do.
      init: ``params -> state``, a tree of arrays that never changes structure.
      select: ``(Proposal, state) -> (Selection, state)``, a pure function.

    >>> import jax.numpy as jnp
    >>> def nothing_passes(proposal, state):
    ...     no = tuple(jnp.zeros((), bool) for _ in proposal.updates)
    ...     return Selection(no, {c.name: no for c in proposal.constraints}), state
    >>> rule = Rule("frozen", "nothing", lambda params: (), nothing_passes)
    >>> rule.name
    'frozen'
    """

    name: str
    needs: str
    init: Callable[[Any], Any]
    select: Callable[[Proposal, Any], tuple[Selection, Any]]


def all_of(
    passes: dict[str, tuple[jax.Array, ...]],
) -> tuple[jax.Array, ...]:
    """The coordinates that satisfy every constraint."""
    keep, *others = passes.values()
    for other in others:
        keep = tuple(a & b for a, b in zip(keep, other, strict=True))
    return tuple(keep)


def stateless(params: Any) -> tuple:
    """The state of a rule that keeps none."""
    del params
    return ()
