"""Influence unlearning: one Newton step away from the forget set."""

from typing import Any

import jax
from jax.scipy.sparse.linalg import cg

from feasible_jax.methods.directions import add_scaled
from feasible_jax.methods.method import Method, Problem
from feasible_jax.methods.one_shot import one_shot
from feasible_jax.methods.set_gradients import fisher_product, set_gradients


def influence_unlearning(scale: float = 1.0, damping: float = 3e-4, iterations: int = 50) -> Method:
    """Add ``scale (F_r + damping I)^(-1) (N_f / N) (g_f - g_r)``, in one shot.

    Influence unlearning (IU) of Izzo et al. (2021) as Jia et al. (2023) weigh it: the Newton step
    from the mean over all ``N`` examples to that over the retain set, with the empirical Fisher
    matrix ``F_r = (1/N_r) sum_n g_n g_n^T`` of the retain set for the Hessian. ``g_f`` and ``g_r``
    are the mean gradients of the training loss over the two sets.

    The inverse is that of WoodFisher (Singh and Alistarh, 2020), started at ``damping I`` and
    updated by every retain example. Its recursion would hold a vector an example; conjugate
    gradients on products with ``F_r`` give the same in the memory of a few copies of the
    parameters, at two passes over the retain set an iteration.

    Args:
      scale: how far to go, >= 0; 1 is the step of the theory.
      damping: > 0; the smaller, the further along directions that the retain set hardly uses.
      iterations: of the conjugate gradients, at most, >= 1.

    Returns:
      A ``Method`` without objectives, see ``one_shot``: run one step of SGD at a rate of 1.

    Raises:
      ValueError: if a value is out of its range.

    >>> influence_unlearning().name
    'influence unlearning'
    """
    if not scale >= 0:
        raise ValueError(f"scale={scale}: give a number >= 0.")
    if not damping > 0:
        raise ValueError(f"damping={damping}: give a number > 0.")
    if iterations < 1:
        raise ValueError(f"iterations={iterations}: give a whole number of at least 1.")

    def edit(problem: Problem, data: dict[str, Any], key: jax.Array) -> Any:
        del key
        loss_fn, params = problem.loss_fn, problem.original_params
        forget, retain = (
            set_gradients(loss_fn, params, data[name]) for name in ("forget", "retain")
        )

        def damped_fisher(vector):
            product = fisher_product(loss_fn, params, data["retain"], vector)
            return add_scaled(product, damping, vector)

        share = forget.count / (forget.count + retain.count)
        gradient = jax.tree.map(lambda f, r: share * (f - r), forget.mean, retain.mean)
        step, _ = cg(damped_fisher, gradient, maxiter=iterations)
        return jax.tree.map(lambda p, s: p.astype(s.dtype) + scale * s, params, step)

    return one_shot("influence unlearning", edit)
