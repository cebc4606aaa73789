"""A control: the noise-free sign mask."""

import jax.numpy as jnp

from feasible_jax.feasibility.rule import Proposal, Rule, Selection, all_of, stateless


def sign_agreement() -> Rule:
    """Keep the coordinates whose sign agrees with every constraint, whatever the noise.

    The mask of the prior art, without a test: ``-sigma_k sgn(Delta_i) mean_{k,i} >= 0``
    (MUDMAN's disruption mask, arXiv 2506.12484; AND-mask, Parascandolo et al., 2021). A control
    for every table: what it gains, no statistics were needed for.

    Returns:
      A ``Rule`` for ``feasible_updates(rule=...)``; it needs mean gradients alone, and ignores
      the confidence.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.feasibility import feasible_updates
    >>> tx = feasible_updates(decrease=("retain",), rule=sign_agreement())
    >>> retain = jnp.array([[1.0, -0.1], [1.2, -9.0]])
    >>> updates, state = tx.update(jnp.array([-0.5, -0.5]), tx.init(jnp.zeros(2)), retain=retain)
    >>> updates.tolist()
    [-0.5, 0.0]
    """
    return Rule("sign agreement", "mean", stateless, _select)


def _select(proposal: Proposal, state: tuple) -> tuple[Selection, tuple]:
    passes = {
        constraint.name: tuple(
            _agrees(constraint.sign, update, mean)
            for update, mean in zip(
                proposal.updates, proposal.evidence[constraint.name].mean, strict=True
            )
        )
        for constraint in proposal.constraints
    }
    return Selection(all_of(passes), passes), state


def _agrees(sign, update, mean):
    # Comparisons alone: a product of two tiny numbers would be flushed to 0 and pass.
    down = (sign * mean <= 0) & (update >= 0)
    up = (sign * mean >= 0) & (update <= 0)
    return (down | up) & jnp.isfinite(mean)
