"""SSD: parameters that matter to the forget set more than to all data are dampened."""

from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.methods.method import Method, Problem
from feasible_jax.methods.one_shot import one_shot
from feasible_jax.methods.set_gradients import mean_squares, set_moments
from feasible_jax.moments import merge_moments


def ssd(selection: float = 10.0, dampening: float = 1.0) -> Method:
    """Multiply by ``min(1, lam F_D / F_f)`` where ``F_f > a F_D``, in one shot.

    Selective synaptic dampening of Foster et al. (2024). ``F_f`` and ``F_D`` are the means of
    squared per-example gradients of the training loss over the forget set, and over all of the
    training data, forget set included.

    Args:
      selection: ``a``, > 0; the smaller, the more parameters are dampened.
      dampening: ``lam``, >= 0; the smaller, the more each of them.

    Returns:
      A ``Method`` without objectives, see ``one_shot``: run one step of SGD at a rate of 1.

    Raises:
      ValueError: if ``selection`` is not positive or ``dampening`` is negative.

    >>> ssd().name
    'SSD'
    """
    if not selection > 0:
        raise ValueError(f"selection={selection}: give a number > 0.")
    if not dampening >= 0:
        raise ValueError(f"dampening={dampening}: give a number >= 0.")

    def edit(problem: Problem, data: dict[str, Any], key: jax.Array) -> Any:
        del key
        params = problem.original_params
        forget, retain = (
            set_moments(problem.loss_fn, params, data[name]) for name in ("forget", "retain")
        )
        of_forget, of_all = mean_squares(forget), mean_squares(merge_moments(forget, retain))

        def dampened(p, f, d):
            factor = jnp.minimum(1, dampening * d / jnp.where(f > 0, f, 1))
            return jnp.where(f > selection * d, factor, 1) * p.astype(f.dtype)

        return jax.tree.map(dampened, params, of_forget, of_all)

    return one_shot("SSD", edit)
