"""What a transformation wants to be told at each update, and how that is read off a state."""

from dataclasses import dataclass
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

    >>> import jax.numpy as jnp
    >>> from feasible_jax.feasibility import feasible_updates
    >>> state = feasible_updates(decrease=("retain",)).init(jnp.zeros(2))
    >>> state.requires.needs, state.requires.constraints[0].name
    ('moments', 'retain')
    """

    constraints: tuple[Constraint, ...]
    needs: str


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
    found = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, Requirements))
    needs: dict[str, str] = {}
    for requires in found:
        if isinstance(requires, Requirements) and requires.needs in GRADIENTS:
            for constraint in requires.constraints:
                now = needs.get(constraint.name, "nothing")
                needs[constraint.name] = max(now, requires.needs, key=GRADIENTS.index)
    return needs
