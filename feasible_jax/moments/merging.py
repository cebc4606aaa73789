"""Moments of a union: of two batches, or of the shards of a mesh axis."""

from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.gradient_moments import GradientMoments
from feasible_jax.moments.precision import (
    accumulation_dtype,
    lift_squares,
    unbiased_third,
    unbiased_variance,
)


def merge_moments(a: GradientMoments, b: GradientMoments) -> GradientMoments:
    """The moments of the union of two batches, exactly as if they had been one.

    With ``delta = mean_b - mean_a`` and ``n = n_a + n_b``, the sums of squared deviations ``M``
    combine as ``M = M_a + M_b + delta^2 n_a n_b / n`` (Chan, Golub and LeVeque, 1983), which does
    not cancel where the mean is large beside the standard deviation. The sums of cubed deviations
    ``C``, where both batches have thirds, combine as ``C = C_a + C_b + delta^3 n_a n_b (n_a - n_b)
    / n^2 + 3 delta (n_a M_b - n_b M_a) / n`` (Pebay, 2008).

    Args:
      a: moments of the first batch; a batch without observations (count 0) changes nothing.
      b: moments of the second batch, of the same tree, with thirds where ``a`` has them.

    Returns:
      ``GradientMoments`` with ``count = a.count + b.count``, and with thirds where both have them.

    Raises:
      ValueError: if the two trees differ, in structure or in the shape of a leaf, or only one of
        the batches has thirds.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.moments import moments_from_per_example
    >>> a = moments_from_per_example({"w": jnp.array([[1.0], [3.0]])})
    >>> b = moments_from_per_example({"w": jnp.array([[5.0]])})
    >>> whole = merge_moments(a, b)
    >>> whole.mean["w"].tolist(), whole.variance["w"].tolist(), float(whole.count)
    ([3.0], [4.0], 3.0)
    """
    n_a, n_b = jnp.asarray(a.count), jnp.asarray(b.count)
    if (a.third is None) != (b.third is None):
        raise ValueError(
            f"moments of the {'first' if a.third is None else 'second'} batch have no third and "
            "those of the other have: take both with third=True, or drop it with "
            "moments._replace(third=None)."
        )
    thirds = () if a.third is None else (a.third, b.third)
    merged = jax.tree_util.tree_map_with_path(
        lambda path, *leaves: _merge_leaf(path, n_a, n_b, *leaves),
        a.mean, b.mean, a.variance, b.variance, *thirds,
    )  # fmt: skip
    dtype = accumulation_dtype(n_a, n_b)
    count = n_a.astype(dtype) + n_b.astype(dtype)
    return _assemble(a, merged, count)


def reduce_moments(moments: GradientMoments, axis_name: str | tuple[str, ...]) -> GradientMoments:
    """The moments of the union of every shard's batch, inside ``shard_map``.

    Two sums over the axis, of the means and of the squared deviations from the common mean; what
    crosses the mesh is twice the size of the parameters, whatever the batch. Thirds, where asked
    for, add a third sum: ``C = sum_s [C_s + 3 apart_s M_s + n_s apart_s^3]``, with ``M_s`` and
    ``C_s`` a shard's sums of squared and cubed deviations and ``apart_s`` its mean less the whole.

    Args:
      moments: this shard's moments; a shard without observations (count 0) changes nothing.
      axis_name: the mesh axis, or axes, over which the batch is spread.

    Returns:
      ``GradientMoments`` of the whole batch, the same on every shard of the axis, with thirds
      where the shards have them.

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

    def reduce_leaf(mean, variance, *third):
        local = jnp.asarray(moments.count).astype(mean.dtype)
        total = jnp.asarray(count).astype(mean.dtype)
        seen = local > 0
        # A shard without observations has no mean: it must not bring a NaN or an infinity along.
        share = local / jnp.where(total > 0, total, 1)
        whole = jax.lax.psum(jnp.where(seen, mean, 0) * share, axis_name)
        apart = jnp.where(seen, mean - whole, 0)
        within = _squares(variance.astype(mean.dtype), local)
        squares = within + local * apart * apart
        squares = jax.lax.psum(lift_squares(squares, apart != 0, local), axis_name)
        reduced = whole, unbiased_variance(squares, total)
        if not third:
            return reduced
        cubes = _cubes(third[0].astype(mean.dtype), local)
        cubes = cubes + apart * (3 * within + local * apart * apart)
        return *reduced, unbiased_third(jax.lax.psum(cubes, axis_name), total)

    thirds = () if moments.third is None else (moments.third,)
    reduced = jax.tree.map(reduce_leaf, moments.mean, moments.variance, *thirds)
    return _assemble(moments, reduced, count)


def _merge_leaf(path, n_a, n_b, mean_a, mean_b, variance_a, variance_b, *thirds):
    if jnp.shape(mean_a) != jnp.shape(mean_b):
        raise ValueError(
            f"moments differ at {jax.tree_util.keystr(path, simple=True, separator='/')!r}: shapes "
            f"{jnp.shape(mean_a)} and {jnp.shape(mean_b)}; merge moments of the same parameters."
        )
    dtype = accumulation_dtype(mean_a, mean_b)
    n_a, n_b = n_a.astype(dtype), n_b.astype(dtype)
    n = n_a + n_b
    weight_b = n_b / jnp.where(n > 0, n, 1)
    # A batch without observations has no mean: it must not bring a NaN or an infinity along.
    mean_a = jnp.where(n_a > 0, mean_a.astype(dtype), 0)
    mean_b = jnp.where(n_b > 0, mean_b.astype(dtype), 0)
    delta = mean_b - mean_a
    squares_a = _squares(variance_a.astype(dtype), n_a)
    squares_b = _squares(variance_b.astype(dtype), n_b)
    # Innermost first: a batch without observations must weigh nothing before a square overflows.
    between = delta * (delta * (n_a * weight_b))
    differ = (delta != 0) & (n_a > 0) & (n_b > 0)
    squares = lift_squares(squares_a + squares_b + between, differ, n)
    merged = mean_a + delta * weight_b, unbiased_variance(squares, n)
    if not thirds:
        return merged
    weight_a = n_a / jnp.where(n > 0, n, 1)
    cubes_a, cubes_b = (
        _cubes(third.astype(dtype), count) for third, count in zip(thirds, (n_a, n_b), strict=True)
    )
    shift = 3 * (weight_a * squares_b - weight_b * squares_a) + between * (weight_a - weight_b)
    return *merged, unbiased_third(cubes_a + cubes_b + delta * shift, n)


def _squares(variance, count):
    return jnp.where(count > 1, variance * jnp.where(count > 1, count - 1, 1), 0)


def _cubes(third, count):
    known = count > 2
    n = jnp.where(known, count, 3)
    return jnp.where(known, third * ((n - 1) * (n - 2) / n), 0)


def _assemble(like: GradientMoments, by_leaf: Any, count: Any) -> GradientMoments:
    def part(index):
        return jax.tree.map(lambda _, parts: parts[index], like.mean, by_leaf)

    return GradientMoments(part(0), part(1), count, None if like.third is None else part(2))
