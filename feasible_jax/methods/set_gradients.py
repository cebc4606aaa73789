"""Gradients of a whole set, a chunk at a time: their mean, their squares, products with both."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from feasible_jax.moments import grad_moments
from feasible_jax.moments.precision import accumulation_dtype

# Examples at a time: their activations are what is held beside a few copies of the parameters.
_CHUNK = 128


class SetGradients(NamedTuple):
    """What a set says about its gradients.

    Attributes:
      mean: the mean gradient, a tree shaped like the parameters, float32 or wider.
      squares: the mean of the squared gradients of single examples, likewise: the diagonal of the
        empirical Fisher matrix. Squares of the mean gradients of batches would miss what the
        examples of a batch cancel.
      count: the number of examples.

    >>> SetGradients(mean=1.0, squares=2.0, count=3).count
    3
    """

    mean: Any
    squares: Any
    count: int


def set_gradients(
    loss_fn: Callable[[Any, Any], jax.Array], params: Any, examples: Any
) -> SetGradients:
    """The mean and the squares of the gradients of a set.

    Args:
      loss_fn: ``(params, example) -> scalar`` for ONE example.
      params: the parameters.
      examples: a tree of arrays with a leading axis of ``N`` examples.

    Returns:
      ``SetGradients``, in the memory of a chunk and of a few copies of the parameters.

    >>> seen = set_gradients(lambda w, x: w * x, jnp.array(1.0), jnp.array([1.0, 3.0]))
    >>> float(seen.mean), float(seen.squares), seen.count
    (2.0, 5.0, 2)
    """
    chunks, weights = _chunks(examples)
    size = jax.tree.leaves(examples)[0].shape[0]
    moments_of = grad_moments(loss_fn)

    def step(sums, chunk_and_weights):
        moments = moments_of(params, *chunk_and_weights)
        n = moments.count

        def add_square(total, mean, variance):
            # One observation has an infinite variance, and no square but its own.
            spread = jnp.where(n > 1, variance, 0) * (n - 1).astype(mean.dtype)
            return total + (n.astype(mean.dtype) * mean * mean + spread) / size

        mean = jax.tree.map(lambda t, m: t + m * (n / size).astype(m.dtype), sums[0], moments.mean)
        squares = jax.tree.map(add_square, sums[1], moments.mean, moments.variance)
        return (mean, squares), None

    zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, accumulation_dtype(p)), params)
    (mean, squares), _ = jax.lax.scan(step, (zeros, zeros), (chunks, weights))
    return SetGradients(mean, squares, size)


def fisher_product(
    loss_fn: Callable[[Any, Any], jax.Array], params: Any, examples: Any, vector: Any
) -> Any:
    """The empirical Fisher matrix of a set times a vector, ``(1/N) sum_n g_n (g_n . v)``.

    Args:
      loss_fn: ``(params, example) -> scalar`` for ONE example.
      params: the parameters.
      examples: a tree of arrays with a leading axis of ``N`` examples.
      vector: ``v``, a tree shaped like the parameters, float32 or wider.

    Returns:
      A tree like ``vector``, at the cost of two passes over the set.

    >>> loss = lambda w, x: w * x
    >>> float(fisher_product(loss, jnp.array(1.0), jnp.array([1.0, 3.0]), jnp.array(2.0)))
    10.0
    """
    chunks, weights = _chunks(examples)
    size = jax.tree.leaves(examples)[0].shape[0]
    tangent = jax.tree.map(lambda v, p: v.astype(p.dtype), vector, params)

    def step(total, chunk_and_weights):
        chunk, real = chunk_and_weights

        def losses(params):
            return jax.vmap(loss_fn, in_axes=(None, 0))(params, chunk)

        _, along = jax.jvp(losses, (params,), (tangent,))
        _, pull = jax.vjp(losses, params)
        (product,) = pull(along * real.astype(along.dtype))
        return jax.tree.map(lambda t, p: t + p.astype(t.dtype) / size, total, product), None

    total, _ = jax.lax.scan(step, jax.tree.map(jnp.zeros_like, vector), (chunks, weights))
    return total


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
