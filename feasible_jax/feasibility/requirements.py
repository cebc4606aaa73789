"""What a transformation wants to be told at each update, and how that is read off a state."""

from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import jax

from feasible_jax.feasibility.constraints import Constraint

# Kinds of evidence on gradients, each more than the one before it.
GRADIENTS = ("nothing", "mean", "moments", "per_example")


@jax.tree_util.register_static
@dataclass(frozen=True)
class Requirements:
    """What a transformation wants to be told at each update; no array, so no leaf of the state.

    Attributes:
      constraints: what must hold; their names are the keyword arguments of ``update``.
      needs: the cheapest kind of evidence that will do, see ``Rule.needs``.
      settings: names and numbers that the transformation was made with, for whoever goes on with a
        run and wants to know that it is the same; numbers that may vary are not among them.
      without_replacement: the constraints whose examples are to be drawn without replacement.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.feasibility import feasible_updates
    >>> state = feasible_updates(decrease=("retain",)).init(jnp.zeros(2))
    >>> state.requires.needs, state.requires.constraints[0].name
    ('moments', 'retain')
    """

    constraints: tuple[Constraint, ...]
    needs: str
    # States of equal structure stay so, whatever numbers their transformations were made with.
    settings: tuple[tuple[str, str | float], ...] = field(default=(), compare=False)
    without_replacement: tuple[str, ...] = ()


def fixed_settings(**given: Any) -> tuple[tuple[str, str | float], ...]:
    """Those of the settings that are plain names or numbers: no schedules, no arrays.

    >>> fixed_settings(confidence=0.9, test="student", spending=None)
    (('confidence', 0.9), ('test', 'student'))
    """
    plain = {name: value for name, value in given.items() if isinstance(value, (str, Real))}
    return tuple((k, v if isinstance(v, (str, int)) else float(v)) for k, v in plain.items())


def described(opt_state: Any) -> dict[str, Any]:
    """What the transformations of a state were made with, by name, fit for JSON.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.feasibility import feasible_updates
    >>> about = described(feasible_updates("retain", confidence=0.9).init(jnp.zeros(2)))
    >>> about["mask 1, confidence"], about["mask 1, decrease"]
    (0.9, ['retain'])
    """
    about: dict[str, Any] = {}
    seen = {"mask": 0, "certificate": 0}
    for requires in _requirements(opt_state):
        kind = "mask" if requires.needs in GRADIENTS else "certificate"
        seen[kind] += 1
        names = {+1: "decrease", -1: "increase"}
        found = {
            names[sign]: [c.name for c in requires.constraints if c.sign == sign] for sign in names
        }
        found |= {"evidence": requires.needs, **dict(requires.settings)}
        about |= {f"{kind} {seen[kind]}, {name}": value for name, value in found.items()}
    return about


def merged_requirements(opt_state: Any) -> dict[str, str]:
    """The evidence on gradients that a state's transformations ask for, through any wrapper.

    Returns:
      The kind needed, by the constraint's name: the most telling that one of them asks for.

    >>> import jax.numpy as jnp, optax
    >>> from feasible_jax.feasibility import feasible_updates
    >>> tx = optax.chain(optax.sgd(0.1), feasible_updates("retain", "forget"))
    >>> merged_requirements(tx.init(jnp.zeros(2)))
    {'retain': 'moments', 'forget': 'moments'}
    """
    needs: dict[str, str] = {}
    for requires in _requirements(opt_state):
        if requires.needs in GRADIENTS:
            for constraint in requires.constraints:
                now = needs.get(constraint.name, "nothing")
                needs[constraint.name] = max(now, requires.needs, key=GRADIENTS.index)
    return needs


def without_replacement(opt_state: Any) -> list[str]:
    """The constraints whose examples a state's transformations take for drawn that way.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.feasibility import certify_updates
    >>> without_replacement(certify_updates("retain", population_size=900).init(jnp.zeros(2)))
    ['retain']
    """
    return sorted({name for r in _requirements(opt_state) for name in r.without_replacement})


def longest_warmup(opt_state: Any) -> int:
    """For how many updates a state's transformations gather evidence and move nothing.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.feasibility import feasible_updates
    >>> longest_warmup(feasible_updates("retain", warmup_steps=20).init(jnp.zeros(2)))
    20
    """
    masks = _requirements(opt_state)
    return max((int(dict(mask.settings).get("warmup_steps", 0)) for mask in masks), default=0)


def _requirements(opt_state: Any) -> list[Requirements]:
    """Those of all transformations of a state, through any wrapper."""
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, Requirements))
    return [node for node in nodes if isinstance(node, Requirements)]
