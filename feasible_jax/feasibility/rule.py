"""What a selection rule is: given a proposed update and the evidence, which part may pass."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

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
      level: the level of each constraint's test, by its name: 1 minus its confidence.
      test: where critical values come from, see ``alignment.critical_value``.
      fresh: this step's evidence alone, by name, where ``evidence`` is an average over time.
      params: the leaves of the parameters, or None where ``update`` was not given them.
      kept: the fraction of the update before this one that was kept, a scalar.

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
    level: dict[str, jax.Array] = {}  # noqa: RUF012 - never written to
    test: str = "student"
    fresh: dict[str, Evidence] = {}  # noqa: RUF012 - never written to
    params: tuple[jax.Array, ...] | None = None
    kept: Any = 1.0


class Tests(NamedTuple):
    """The tests of one constraint, a coordinate each.

    Attributes:
      statistics: for each leaf an array shaped like it, large where the update is aligned; NaN for
        what is not tested.
      level: at which each of them is made, a scalar.

    >>> import jax.numpy as jnp
    >>> Tests(statistics=(jnp.array([2.0, jnp.nan]),), level=jnp.float32(0.05)).statistics[0].shape
    (2,)
    """

    statistics: tuple[jax.Array, ...]
    level: jax.Array


class Selection(NamedTuple):
    """A rule's verdict.

    Attributes:
      keep: which coordinates pass, an array per leaf that broadcasts to it: booleans, or the part
        of each coordinate to keep, in [0, 1].
      passes: which coordinates satisfy each constraint by itself, by its name, booleans likewise.
      updates: the update that ``keep`` is of, where the rule proposes another than it was given;
        None otherwise.
      tests: what the rule tested, constraint by constraint, from which ``feasible_updates``
        estimates how many of the coordinates kept are misaligned in truth; empty for a rule that
        tests no coordinates.

    >>> import jax.numpy as jnp
    >>> mask = (jnp.array([True, False]),)
    >>> Selection(keep=mask, passes={"retain": mask}).keep[0].tolist()
    [True, False]
    """

    keep: tuple[jax.Array, ...]
    passes: dict[str, tuple[jax.Array, ...]]
    updates: tuple[jax.Array, ...] | None = None
    tests: tuple[Tests, ...] = ()


class Rule(NamedTuple):
    """A selection rule, pluggable into ``feasible_updates(rule=...)``.

    Attributes:
      name: how tables call it.
      needs: the evidence it asks for: ``"moments"``, ``"mean"``, ``"per_example"`` or
        ``"nothing"``; whoever supplies evidence may supply the cheapest kind that will do.
      init: ``params -> state``, a tree of arrays that never changes structure.
      select: ``(Proposal, state) -> (Selection, state)``, a pure function.
      evidence_decay: the rule is shown an average of the evidence over time, in which a batch
        weighs this much less at each step; 0 for the last batch alone. In [0, 1).

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
    evidence_decay: float = 0.0


def check_decay(evidence_decay: float) -> None:
    """Raise unless evidence can be averaged with this decay."""
    if not 0 <= evidence_decay < 1:
        raise ValueError(f"evidence_decay={evidence_decay}: give a number in [0, 1), such as 0.9.")


def selected(selection: Selection, updates: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """The part of an update that a rule keeps, in the update's dtypes; zero for the rest."""

    def part(keep, leaf, wanted):
        if keep.dtype == bool:
            return jnp.where(keep, leaf, jnp.zeros_like(leaf)).astype(wanted.dtype)
        # Not multiplied where nothing is kept: 0 times a NaN is not 0.
        return jnp.where(keep > 0, leaf.astype(keep.dtype) * keep, 0).astype(wanted.dtype)

    leaves = zip(selection.keep, selection.updates or updates, updates, strict=True)
    return tuple(part(keep, leaf, wanted) for keep, leaf, wanted in leaves)


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
