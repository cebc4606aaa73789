"""Fisher forgetting: noise on the parameters that the retain set does not need."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from feasible_jax.methods.method import Method, Problem
from feasible_jax.methods.one_shot import one_shot
from feasible_jax.methods.set_gradients import set_gradients


def fisher_forgetting(scale: float = 0.006, max_std: float = 0.2) -> Method:
    """Add noise ``n ~ N(0, 1)`` times ``min(scale F^(-1/4), max_std)``, in one shot.

    Fisher forgetting of Golatkar et al. (2020): ``S(theta) = theta + (lambda sigma^2)^(1/4)
    F^(-1/4) n``, with ``F`` the mean of squared per-example gradients of the training loss over the
    retain set. Each run draws noise of its own, from its key. Noise that is enough to forget costs
    utility: what the two sets share is drowned as well.

    Args:
      scale: ``(lambda sigma^2)^(1/4)``, >= 0.
      max_std: the largest standard deviation, >= 0, of parameters that the retain set does not use
        at all, whose ``F`` is 0.

    Returns:
      A ``Method`` without objectives, see ``one_shot``: run one step of SGD at a rate of 1.

    Raises:
      ValueError: if a value is negative.

    >>> fisher_forgetting().name
    'Fisher forgetting'
    """
    for name, value in (("scale", scale), ("max_std", max_std)):
        if not value >= 0:
            raise ValueError(f"{name}={value}: give a number >= 0.")

    def edit(problem: Problem, data: dict[str, Any], key: jax.Array) -> Any:
        params = problem.original_params
        fisher = set_gradients(problem.loss_fn, params, data["retain"]).squares
        noise = optax.tree.random_like(key, fisher, jax.random.normal)

        def noisy(p, f, n):
            # scale / f^(1/4) <= max_std, without a division by 0.
            least = jnp.where(f > 0, jnp.sqrt(jnp.sqrt(f)), 1)
            std = jnp.where(f > 0, jnp.minimum(scale / least, max_std), max_std)
            return p.astype(f.dtype) + std * n

        return jax.tree.map(noisy, params, fisher, noise)

    return one_shot("Fisher forgetting", edit)
