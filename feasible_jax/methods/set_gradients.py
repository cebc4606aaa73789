"""Per-example gradients of a whole set, seen once in chunks: their mean, squares and products."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments import GradientMoments, grad_moments, merge_moments
from feasible_jax.moments.precision import accumulation_dtype

# Examples at a time: what is held beside a few copies of the parameters are their activations.
_CHUNK = 128


def set_moments(loss_fn: Callable[[Any, Any], jax.Array], params: Any, examples: Any):
    """The moments of the gradients of all examples of a set, a chunk at a time.

    Args:
      loss_fn: ``(params, example) -> scalar`` for ONE example.
      params: the parameters.
      examples: a tree of arrays with a leading axis of ``N`` examples.

    Returns:
      ``GradientMoments`` with ``count = N``.

    >>> moments = set_moments(lambda w, x: w * x, jnp.array(1.0), jnp.array([1.0, 2.0, 6.0]))
    >>> float(moments.mean), float(moments.variance), float(moments.count)
    (3.0, 7.0, 3.0)
    """
    chunks, weights = _chunks(examples)
    moments_of = grad_moments(loss_fn)

    def step(moments, chunk_and_weights):
        return merge_moments(moments, moments_of(params, *chunk_and_weights)), None

    moments, _ = jax.lax.scan(step, _no_moments(params), (chunks, weights))
    return moments


def mean_squares(moments: GradientMoments) -> Any:
    """The mean squared gradient of each coordinate: the diagonal of the empirical Fisher matrix.

    ``F = mean^2 + variance (n - 1) / n``, of gradients of single examples: squares of batches' mean
    gradients would miss what examples of a batch cancel.

    Args:
      moments: of one set.

    Returns:
      A tree shaped like the parameters, float32 or wider.

    >>> mean_squares(set_moments(lambda w, x: w * x, jnp.array(1.0), jnp.array([1.0, 3.0]))).item()
    5.0
    """
    # One observation has an infinite variance, and no square but its own.
    share = jnp.maximum(moments.count - 1, 0) / jnp.maximum(moments.count, 1)
    return jax.tree.map(
        lambda mean, variance: mean * mean + jnp.where(share > 0, variance, 0) * share,
        moments.mean,
        moments.variance,
    )


def fisher_product(
    loss_fn: Callable[[Any, Any], jax.Array], params: Any, examples: Any, vector: Any
) -> Any:
    """The empirical Fisher matrix of a set times a vector, ``(1/N) sum_n g_n (g_n . v)``.

    Two passes over the set, forward along ``v`` and back, in the memory of a chunk.

    Args:
      loss_fn: ``(params, example) -> scalar`` for ONE example.
      params: the parameters.
      examples: a tree of arrays with a leading axis of ``N`` examples.
      vector: a tree shaped like the parameters, float32 or wider.

    Returns:
      A tree like ``vector``.

    >>> float(fisher_product(lambda w, x: w * x, jnp.array(1.0), jnp.array([1.0, 3.0]), jnp.array(2.0)))
    10.0
    """
    chunks, weights = _chunks(examples)
    tangent = jax.tree.map(lambda v, p: v.astype(p.dtype), vector, params)

    def step(total, chunk_and_weights):
        chunk, weights = chunk_and_weights
        along, losses = _derivatives(loss_fn, params, chunk, tangent)
        (product,) = losses(along * weights.astype(along.dtype))
        return jax.tree.map(lambda t, p: t + p.astype(t.dtype), total, product), None

    total, _ = jax.lax.scan(step, jax.tree.map(jnp.zeros_like, vector), (chunks, weights))
    return jax.tree.map(lambda t: t / jnp.sum(weights).astype(t.dtype), total)


def _derivatives(loss_fn, params, chunk, tangent):
    """Each example's derivative along the tangent, and the pullback of all losses."""

    def losses(params):
        return jax.vmap(loss_fn, in_axes=(None, 0))(params, chunk)

    _, along = jax.jvp(losses, (params,), (tangent,))
    return along, jax.vjp(losses, params)[1]


def _chunks(examples: Any) -> tuple[Any, jax.Array]:
    """``(steps, chunk, ...)``, filled up with copies of the first example that weigh nothing."""
    size = jax.tree.leaves(examples)[0].shape[0]
    chunk = min(_CHUNK, size)
    fill = -size % chunk

    def divide(leaf):
        leaf = jnp.asarray(leaf)
        filled = jnp.concatenate([leaf, jnp.broadcast_to(leaf[:1], (fill, *leaf.shape[1:]))])
        return filled.reshape((-1, chunk, *leaf.shape[1:]))

    weights = (jnp.arange(size + fill) < size).astype(jnp.float32)
    return jax.tree.map(divide, examples), weights.reshape((-1, chunk))


def _no_moments(params: Any) -> GradientMoments:
    def full(value):
        return jax.tree.map(
            lambda leaf: jnp.full_like(leaf, value, dtype=accumulation_dtype(leaf)), params
        )

    count = jnp.zeros((), accumulation_dtype(*jax.tree.leaves(params)))
    return GradientMoments(full(0), full(jnp.inf), count)
