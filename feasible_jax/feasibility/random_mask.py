"""A control: a random mask."""

import jax
import jax.numpy as jnp

from feasible_jax.feasibility.rule import Proposal, Rule, Selection, stateless


def random_mask(density: float, seed: int = 0) -> Rule:
    """Keep every coordinate with the same probability, afresh at each step.

    A control for every table: it shows what smaller or sparser steps alone would have gained. Give
    it the density at which the rule under test keeps coordinates.

    Args:
      density: the probability to keep a coordinate, in [0, 1].
      seed: masks are a function of the seed, the step and the leaf's place.

    Returns:
      A ``Rule`` for ``feasible_updates(rule=...)``; it needs no evidence.

    Raises:
      ValueError: if density is a number outside [0, 1].

    >>> import jax.numpy as jnp
    >>> from feasible_jax.feasibility import feasible_updates
    >>> tx = feasible_updates(decrease=("retain",), rule=random_mask(0.25))
    >>> updates, state = tx.update(jnp.ones(10_000), tx.init(jnp.ones(10_000)))
    >>> 0.23 < float(state.kept) < 0.27
    True
    """
    if isinstance(density, (int, float)) and not 0 <= density <= 1:
        raise ValueError(f"density={density}: give a probability in [0, 1].")

    def select(proposal: Proposal, state: tuple) -> tuple[Selection, tuple]:
        key = jax.random.fold_in(jax.random.key(seed), proposal.step)
        keep = tuple(
            jax.random.bernoulli(jax.random.fold_in(key, i), jnp.float32(density), update.shape)
            for i, update in enumerate(proposal.updates)
        )
        return Selection(keep, {c.name: keep for c in proposal.constraints}), state

    return Rule("random mask", "nothing", stateless, select)
