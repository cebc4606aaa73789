"""Exact moments by a scan over microbatches: memory for a few examples at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.gradient_moments import GradientMoments, moments_from_per_example
from feasible_jax.moments.merging import merge_moments
from feasible_jax.moments.per_example import per_example_gradients, vary_like
from feasible_jax.moments.precision import accumulation_dtype


def microbatch_moments(
    loss_fn: Callable[[Any, Any], Any],
    params: Any,
    batch: Any,
    weights: jax.Array,
    microbatch_size: int,
    *,
    third: bool = False,
    has_aux: bool = False,
) -> tuple[Any, GradientMoments]:
    """The losses and moments of a batch, ``microbatch_size`` examples at a time.

    A ragged last microbatch is filled up with copies of the first example that weigh nothing, so
    the result is that of the whole batch at once.

    Args:
      loss_fn: ``(params, example) -> scalar`` for ONE example.
      params: the parameters.
      batch: a tree of arrays with a leading axis of ``B`` examples.
      weights: ``(B,)``.
      microbatch_size: examples a step of the scan, at least 1.
      third: also take the third central moment.
      has_aux: whether ``loss_fn`` returns ``(scalar, aux)``.

    Returns:
      ``(losses, moments)``: ``(B,)`` and the moments of the batch; where ``has_aux``,
      ``((losses, aux), moments)`` with a leading axis of ``B`` on every leaf of aux.

    >>> import jax.numpy as jnp
    >>> loss = lambda w, x: w * x
    >>> losses, moments = microbatch_moments(
    ...     loss, jnp.array(1.0), jnp.array([1.0, 2.0, 6.0]), jnp.ones(3), microbatch_size=2)
    >>> float(moments.mean), float(moments.variance), losses.tolist()
    (3.0, 7.0, [1.0, 2.0, 6.0])
    """
    size = weights.shape[0]
    steps = -(-size // microbatch_size)
    fill = steps * microbatch_size - size

    def chunk(leaf):
        leaf = jnp.asarray(leaf)
        leaf = jnp.concatenate([leaf, jnp.broadcast_to(leaf[:1], (fill, *leaf.shape[1:]))])
        return leaf.reshape((steps, microbatch_size, *leaf.shape[1:]))

    chunks = jax.tree.map(chunk, batch)
    real = jnp.arange(steps * microbatch_size).reshape((steps, microbatch_size)) < size
    chunk_weights = jnp.where(real, chunk(weights), jnp.zeros((), weights.dtype))

    def step(moments, chunk_and_weights):
        examples, w = chunk_and_weights
        seen, grads = per_example_gradients(loss_fn, params, examples, has_aux=has_aux)
        return merge_moments(moments, moments_from_per_example(grads, w, third=third)), seen

    params = vary_like(params, batch)
    start = _no_moments(params, batch, third)
    moments, seen = jax.lax.scan(step, start, (chunks, chunk_weights))
    return jax.tree.map(lambda leaf: leaf.reshape((-1, *leaf.shape[2:]))[:size], seen), moments


def _no_moments(params: Any, batch: Any, third: bool) -> GradientMoments:
    def full(value):
        return jax.tree.map(
            lambda leaf: jnp.full_like(leaf, value, dtype=accumulation_dtype(leaf)), params
        )

    dtype = accumulation_dtype(*jax.tree.leaves(params))
    count = vary_like(jnp.zeros((), dtype), batch)
    return GradientMoments(full(0), full(jnp.inf), count, full(jnp.nan) if third else None)
