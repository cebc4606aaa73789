"""`grad_moments`: one front door to every way of taking gradient moments."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.gradient_moments import moments_from_per_example
from feasible_jax.moments.microbatch import microbatch_moments
from feasible_jax.moments.per_example import check_batch, check_scalar_loss, per_example_gradients

STRATEGIES = ("auto", "vmap", "microbatch")

# Above this many bytes of per-example gradients, "auto" scans over microbatches.
_VMAP_BYTES = 512 * 2**20


def grad_moments(
    loss_fn: Callable[[Any, Any], jax.Array],
    strategy: str = "auto",
    *,
    microbatch_size: int = 16,
    return_losses: bool = False,
) -> Callable[..., Any]:
    """A function that takes the mean and variance of per-example gradients of a batch.

    Every strategy is exact; they differ in time and memory alone.

    Args:
      loss_fn: ``(params, example) -> scalar``, the loss of ONE example (no batch axis).
      strategy: ``"vmap"`` holds a gradient for every example at once, the fastest on small
        models; ``"microbatch"`` scans over ``microbatch_size`` examples at a time; ``"auto"``
        takes ``"vmap"`` up to 512 MiB of per-example gradients and ``"microbatch"`` above.
      microbatch_size: examples a scan step, at least 1.
      return_losses: also return the losses of the examples, which the gradients need anyway.

    Returns:
      ``(params, batch, weights=None) -> GradientMoments``, or ``(losses, GradientMoments)`` with
      ``losses`` of shape ``(B,)`` where ``return_losses``. ``batch`` is a tree with a leading axis
      of ``B`` examples on every leaf; ``weights`` is ``(B,)``, 0 for padding.

    Raises:
      ValueError: for an unknown strategy, params without leaves, an empty or ragged batch,
        ``weights`` of the wrong shape, or a loss that is not a scalar.

    >>> import jax.numpy as jnp
    >>> loss = lambda w, example: 0.5 * (w * example[0] - example[1]) ** 2
    >>> batch = (jnp.array([1.0, 2.0]), jnp.array([0.0, 0.0]))
    >>> moments = grad_moments(loss)(jnp.array(1.0), batch)
    >>> float(moments.mean), float(moments.variance), float(moments.count)
    (2.5, 4.5, 2.0)
    """
    if strategy not in STRATEGIES:
        known = ", ".join(map(repr, STRATEGIES))
        raise ValueError(f"strategy={strategy!r}: choose one of {known}.")
    if isinstance(microbatch_size, int) and microbatch_size < 1:
        raise ValueError(f"microbatch_size={microbatch_size}: give at least 1.")

    def moments_of(params, batch, weights=None):
        params = jax.tree.map(jnp.asarray, params)
        if not jax.tree.leaves(params):
            raise ValueError("params has no leaves: there is no gradient to take moments of.")
        size = check_batch(batch, weights)
        check_scalar_loss(loss_fn, params, batch)
        if _choose(strategy, params, size) == "vmap":
            losses, grads = per_example_gradients(loss_fn, params, batch)
            moments = moments_from_per_example(grads, weights)
        else:
            w = jnp.ones((size,), jnp.float32) if weights is None else jnp.asarray(weights)
            chunk = min(microbatch_size, size)
            losses, moments = microbatch_moments(loss_fn, params, batch, w, chunk)
        return (losses, moments) if return_losses else moments

    return moments_of


def _choose(strategy: str, params: Any, size: int) -> str:
    if strategy != "auto":
        return strategy
    coordinates = sum(jnp.size(leaf) for leaf in jax.tree.leaves(params))
    return "vmap" if 4 * size * coordinates <= _VMAP_BYTES else "microbatch"
