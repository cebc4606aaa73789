"""l1-sparse: fine-tuning under a fading l1 penalty."""

import jax
import jax.numpy as jnp

from feasible_jax.methods.method import Method, Objective


def l1_sparse(alpha: float = 5e-4) -> Method:
    """Minimise ``mean CE(retain) + alpha (1 - e/E) ||theta||_1``.

    l1-sparse unlearning of Jia et al. (2023): a sparser model forgets more easily; the penalty
    fades linearly to 0 over the run.

    Args:
      alpha: weight of the penalty at the start, >= 0.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if alpha is negative.

    >>> import jax.numpy as jnp
    >>> float(l1_sparse(alpha=0.5).penalty(None, jnp.array([1.0, -2.0]), 0.5))
    0.75
    """
    if alpha < 0:
        raise ValueError(f"alpha={alpha}: give a number >= 0.")

    def penalty(problem, params, progress):
        del problem
        norm = sum(jnp.sum(jnp.abs(leaf), dtype=jnp.float32) for leaf in jax.tree.leaves(params))
        return alpha * (1 - progress) * norm

    return Method("l1-sparse", (Objective("retain", "retain"),), (1.0,), penalty)
