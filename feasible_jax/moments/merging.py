"""Moments of a union: of two batches, or of the shards of a mesh axis."""

from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.gradient_moments import GradientMoments, variance_from_deviations


def merge_moments(a: GradientMoments, b: GradientMoments) -> GradientMoments:
    """The moments of the union of two batches, exactly as if they had been one.

    With ``delta = mean_b - mean_a`` and ``n = n_a + n_b``, the sums of squared deviations ``M``
    combine as ``M = M_a + M_b + delta^2 n_a n_b / n`` (Chan, Golub and LeVeque, 1983), which does
    not cancel where the mean is large beside the standard deviation.

    Args:
      a: moments of the first batch; a batch without observations (count 0) changes nothing.
      b: moments of the second batch, of the same tree.

    Returns:
      ``GradientMoments`` with ``count = a.count + b.count``.

    Raises:
      ValueError: if the two trees differ.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.moments import moments_from_per_example
    >>> a = moments_from_per_example({"w": jnp.array([[1.0], [3.0]])})
    >>> b = moments_from_per_example({"w": jnp.array([[5.0]])})
    >>> whole = merge_moments(a, b)
    >>> whole.mean["w"].tolist(), whole.variance["w"].tolist(), float(whole.count)
    ([3.0], [4.0], 3.0)
    """
    n_a, n_b = jnp.asarray(a.count), jnp.asarray(b.count)
    pairs = jax.tree.map(
        lambda ma, va, mb, vb: _merge_leaf(ma, va, n_a, mb, vb, n_b),
        a.mean, a.variance, b.mean, b.variance,
    )  # fmt: skip
    return GradientMoments(_pick(a.mean, pairs, 0), _pick(a.mean, pairs, 1), n_a + n_b)


def reduce_moments(moments: GradientMoments, axis_name: str | tuple[str, ...]) -> GradientMoments:
    """The moments of the union of every shard's batch, inside ``shard_map``.

    Two sums over the axis, of the means and of the squared deviations from the common mean; what
    crosses the mesh is twice the size of the parameters, whatever the batch.

    Args:
      moments: this shard's moments; a shard without observations (count 0) changes nothing.
      axis_name: the mesh axis, or axes, over which the batch is spread.

    Returns:
      ``GradientMoments`` of the whole batch, the same on every shard of the axis.

    >>> import jax, jax.numpy as jnp
    >>> from feasible_jax.moments import moments_from_per_example
    >>> from jax.sharding import PartitionSpec as P
    >>> mesh = jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> whole = jax.shard_map(
    ...     lambda grads: reduce_moments(moments_from_per_example(grads), "batch"),
    ...     mesh=mesh, in_specs=P("batch"), out_specs=P())(jnp.array([[1.0], [3.0]]))
    >>> float(whole.mean[0]), float(whole.variance[0]), float(whole.count)
    (2.0, 2.0, 2.0)
    """
    count = jax.lax.psum(moments.count, axis_name)

    def reduce_leaf(mean, variance):
        local = jnp.asarray(moments.count, mean.dtype)
        total = jnp.asarray(count, mean.dtype)
        whole = jax.lax.psum(mean * (local / jnp.maximum(total, 1)), axis_name)
        apart = mean - whole
        squares = _squares(variance, local) + local * apart * apart
        squares = jax.lax.psum(squares, axis_name)
        return whole, variance_from_deviations(squares, squares, total)

    pairs = jax.tree.map(reduce_leaf, moments.mean, moments.variance)
    return GradientMoments(_pick(moments.mean, pairs, 0), _pick(moments.mean, pairs, 1), count)


def _merge_leaf(mean_a, variance_a, n_a, mean_b, variance_b, n_b):
    dtype = jnp.result_type(mean_a, mean_b)
    n_a, n_b = n_a.astype(dtype), n_b.astype(dtype)
    n = jnp.maximum(n_a + n_b, 1)
    # A batch without observations has no mean: it must not bring a NaN or an infinity along.
    mean_a = jnp.where(n_a > 0, mean_a, 0).astype(dtype)
    mean_b = jnp.where(n_b > 0, mean_b, 0).astype(dtype)
    delta = mean_b - mean_a
    mean = mean_a + delta * (n_b / n)
    between = delta * delta * (n_a * n_b / n)
    squares = _squares(variance_a, n_a) + _squares(variance_b, n_b) + between
    spread = jnp.where((n_a > 0) & (n_b > 0), jnp.abs(delta), 0)
    return mean, variance_from_deviations(squares, spread, n_a + n_b)


def _squares(variance, count):
    return jnp.where(count > 1, variance * jnp.where(count > 1, count - 1, 1), 0)


def _pick(like: Any, pairs: Any, index: int) -> Any:
    return jax.tree.map(lambda _, pair: pair[index], like, pairs)
