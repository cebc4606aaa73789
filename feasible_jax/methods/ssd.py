"""SSD: parameters that matter to the forget set more than to all data are dampened."""

from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.methods.method import Method, Problem
from feasible_jax.methods.one_shot import one_shot
from feasible_jax.methods.set_gradients import set_gradients


def ssd(selection: float | None = None, dampening: float = 1.0) -> Method:
    """Multiply by ``min(1, lam F_D / F_f)`` where ``F_f > a F_D``, in one shot.

    Selective synaptic dampening of Foster et al. (2024). ``F_f`` and ``F_D`` are the means of
    squared per-example gradients of the training loss over the forget set, and over all ``N``
    training examples, the ``N_f`` of the forget set included. So ``F_f / F_D`` is ``N / N_f`` at
    most, which it reaches where the retain set has no use for a parameter: the paper's ``a`` of 10
    selects nothing from a forget set of a tenth of the data.

    Args:
      selection: ``a``, in (0, N / N_f); the smaller, the more parameters are dampened. None for
        half of the largest ratio, ``N / (2 N_f)``: the paper's 10 for a twentieth of the data.
      dampening: ``lam``, >= 0; the smaller, the more each of them.

    Returns:
      A ``Method`` without objectives, see ``one_shot``: run one step of SGD at a rate of 1.

    Raises:
      ValueError: if ``selection`` is not positive or ``dampening`` is negative; when it runs, if no
        ratio can be above ``selection``.

    >>> ssd().name
    'SSD'
    """
    if selection is not None and not selection > 0:
        raise ValueError(f"selection={selection}: give a number > 0, or None.")
    if not dampening >= 0:
        raise ValueError(f"dampening={dampening}: give a number >= 0.")

    def edit(problem: Problem, data: dict[str, Any], key: jax.Array) -> Any:
        del key
        params = problem.original_params
        forget, retain = (
            set_gradients(problem.loss_fn, params, data[name]) for name in ("forget", "retain")
        )
        share = forget.count / (forget.count + retain.count)
        least = 1 / (2 * share) if selection is None else selection
        if least * share >= 1:
            raise ValueError(
                f"selection={selection}: of {forget.count + retain.count} examples with "
                f"{forget.count} to forget, no ratio F_f / F_D is above {1 / share:g}, and nothing "
                "is selected: give less, or None."
            )

        def dampened(p, f, r):
            whole = share * f + (1 - share) * r
            factor = jnp.minimum(1, dampening * whole / jnp.where(f > 0, f, 1))
            return jnp.where(f > least * whole, factor, 1) * p.astype(f.dtype)

        return jax.tree.map(dampened, params, forget.squares, retain.squares)

    return one_shot("SSD", edit)
