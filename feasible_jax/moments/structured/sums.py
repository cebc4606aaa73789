"""Sums over examples of gradients, their squares and cubes, each in the cheapest form."""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from feasible_jax.moments.per_example import vary_like
from feasible_jax.moments.precision import accumulation_dtype

# What is left of sum(g^2) after the square of the mean is taken off is lost in rounding below about
# this part of it, that is where |mean| > 360 standard deviations. No smaller variance is reported,
# so that rounding does not make a certainty.
_ROUNDING = {"float32": 2.0**-17, "float64": 2.0**-46}
# Factors smaller than this part of the largest are taken for this large where they are squared:
# the product of two such squares is still a normal number, so that nothing is lost to underflow.
_SMALLEST_FACTOR = 2.0**-30
# Bytes of per-example gradients to hold at once: what stays in the caches of a CPU, and what an
# accelerator spares.
_TINY_BYTES, _HELD_BYTES, _CHUNK_BYTES = 2**18, 2**21, 2**23
_ACCELERATOR_BYTES = 2**27
_MOST_EXAMPLES = 4
# How many parameters may hold that much at once.
_MANY = 16
# Less than any count: what to divide by where nothing was counted.
_ANY = 2.0**-64


class Sums(NamedTuple):
    """Sums over a batch, central: the mean, and powers of the deviations from it.

    Attributes:
      mean: the mean gradient, float32 or wider.
      squares: the sum of squared deviations from it.
      cubes: the sum of cubed deviations, or None where it was not asked for.
    """

    mean: jax.Array
    squares: jax.Array
    cubes: jax.Array | None


def tiny_bytes() -> int:
    """Bytes of gradients that are cheaper to hold than to think about."""
    return _TINY_BYTES


def held_bytes() -> int:
    """Bytes up to which the gradients of all examples of a batch are held at once."""
    return _HELD_BYTES if jax.default_backend() == "cpu" else _ACCELERATOR_BYTES


def held_in_all_bytes() -> int:
    """Bytes that the gradients held at once may take for all parameters together."""
    return _MANY * held_bytes()


def chunk_size(size: int, entries: int) -> int:
    """How many examples' gradients of ``entries`` numbers to hold at once, out of ``size``.

    All of them where they fit a cache. A few otherwise, so that what one product writes is still
    in the cache when it is squared.

    >>> chunk_size(64, 100), chunk_size(64, 100_000), chunk_size(64, 10**8)
    (64, 4, 1)
    """
    if 4 * size * entries <= held_bytes():
        return size
    chunk_bytes = _CHUNK_BYTES if jax.default_backend() == "cpu" else _ACCELERATOR_BYTES
    return max(1, min(size, chunk_bytes // (4 * max(entries, 1)), _MOST_EXAMPLES))


def squared_sums(left: jax.Array, right: jax.Array, weights: jax.Array | None, third: bool) -> Sums:
    """Sums for gradients that are outer products: the products of the squares.

    ``sum_n w_n (x_n d_n)^2 = sum_n w_n x_n^2 d_n^2``, a matrix product like the gradient itself.

    Args:
      left: ``(n, groups, inputs)``.
      right: ``(n, groups, outputs)``.
      weights: ``(n,)``, or None for ones.
      third: whether to sum cubes as well.

    Returns:
      ``Sums`` of shape ``(groups, inputs, outputs)``.
    """
    dtype = accumulation_dtype(left, right)
    total = left.shape[0] if weights is None else jnp.sum(weights.astype(dtype))
    total = jnp.asarray(total, dtype)
    share = 1 / jnp.where(total > 0, total, 1)

    def product(a, b):
        if weights is not None:
            b = b * weights.astype(b.dtype)[:, None, None]
        # The difference below cancels too much for the narrower products of accelerators.
        return jnp.einsum("ngc,ngf->gcf", a, b, precision="highest", preferred_element_type=dtype)

    mean = product(left, right) * share
    a, a_scale = _scaled(left.astype(dtype))
    b, b_scale = _scaled(right.astype(dtype))
    # In units of the largest gradient there can be, so that nothing overflows on the way.
    tiny = float(jnp.finfo(dtype).tiny)
    unit = jnp.maximum(a_scale * b_scale, tiny)
    scaled_mean = mean / unit
    raw = product(_factor_square(a), _factor_square(b))
    rounding = raw * _ROUNDING[dtype.name]
    squares = jnp.maximum(raw - scaled_mean * scaled_mean * total, rounding)
    cubes = None
    if third:
        cubes = product(a * a * a, b * b * b)
        cubes = cubes - scaled_mean * (3 * raw - 2 * scaled_mean * scaled_mean * total)
        cubes = cubes * unit * unit * unit
    # Back in their own unit squares may underflow. 0 stays 0, and NaN stays NaN.
    floor = jnp.minimum(squares * 2.0**64, 1024 * tiny * total)
    return Sums(mean, jnp.maximum(squares * unit * unit, floor), cubes)


def chunked_sums(
    per_example: Callable[[Any], Any],
    batch: Any,
    weights: jax.Array | None,
    chunk: int,
    third: bool,
) -> Any:
    """Sums of per-example gradients that are made ``chunk`` examples at a time.

    Each chunk's mean and deviations from it are merged with those before (Chan, Golub and LeVeque,
    1983), so that nothing cancels where the mean is large beside the standard deviation.

    Args:
      per_example: from the rows of ``batch`` for some examples to their gradients, a tree of
        ``(k, *shape)``.
      batch: a tree of arrays with a leading axis of examples.
      weights: ``(n,)``, or None for ones.
      chunk: examples at a time, at least 1.
      third: whether to sum cubes as well.

    Returns:
      A tree of ``Sums``, shaped like what ``per_example`` returns.
    """
    size = jax.tree.leaves(batch)[0].shape[0]
    even = size % chunk == 0

    def rows(leaf, begin):
        return jax.lax.dynamic_slice_in_dim(leaf, begin, chunk, allow_negative_indices=False)

    def step(carry, begin):
        seen, sums = carry
        # The last chunk reaches back to be full; what was seen before counts for nothing.
        here = begin if even else jnp.minimum(begin, size - chunk)
        grads = per_example(jax.tree.map(lambda leaf: rows(leaf, here), batch))
        counts = None if weights is None else rows(weights, here)
        if not even:
            fresh = here + jnp.arange(chunk) >= begin
            counts = jnp.where(fresh, 1.0 if counts is None else counts, 0)
        merged = jax.tree.map(lambda g, s: _merge(s, seen, g, counts), grads, sums)
        return (seen + (chunk if counts is None else jnp.sum(counts)), merged), None

    def start(like):
        zero = vary_like(jnp.zeros(like.shape[1:], like.dtype), batch)
        return Sums(zero, zero, zero if third else None)

    shapes = jax.eval_shape(per_example, jax.tree.map(lambda leaf: rows(leaf, 0), batch))
    seen = jnp.zeros(()) if weights is None else vary_like(jnp.zeros(()), weights)
    begins = jnp.arange(0, size, chunk)
    (_, sums), _ = jax.lax.scan(step, (seen, jax.tree.map(start, shapes)), begins)
    return sums


# Layers of one shape are traced once.
@partial(jax.jit, static_argnames="third")
def stacked_sums(grads: jax.Array, weights: jax.Array | None, third: bool) -> Sums:
    """Sums of a stack of per-example gradients, ``(n, *shape)``, in two passes."""
    dtype = accumulation_dtype(grads)
    grads = grads.astype(dtype)
    n = grads.shape[0]

    def over_examples(values):
        if weights is None:
            return jnp.sum(values, axis=0)
        return jnp.sum(values * weights.astype(dtype).reshape((n,) + (1,) * (values.ndim - 1)), 0)

    total = jnp.asarray(n, dtype) if weights is None else jnp.sum(weights.astype(dtype))
    # Dividing the gradients, not their sum, keeps a sum of huge gradients from overflowing.
    mean = over_examples(grads / jnp.where(total > 0, total, 1))
    deviations = grads - mean[None]
    squares = over_examples(lifted_square(deviations))
    cubes = over_examples(deviations * deviations * deviations) if third else None
    return Sums(mean, squares, cubes)


def lookup_sums(
    ids: jax.Array, rows: jax.Array, height: int, weights: jax.Array | None, third: bool
) -> Sums:
    """Sums for gradients of which each example has only a few rows.

    Args:
      ids: ``(n, t)`` the rows, each at most once an example; ``height`` for none.
      rows: ``(n, t, width)`` the gradients there.
      height: number of rows of the table.
      weights: ``(n,)``, or None for ones.
      third: whether to sum cubes as well.

    Returns:
      ``Sums`` of shape ``(height, width)``.
    """
    dtype = accumulation_dtype(rows)
    rows = rows.astype(dtype)
    w = jnp.ones(ids.shape[:1], dtype) if weights is None else weights.astype(dtype)
    each, total = w[:, None, None], jnp.sum(w)

    def scatter(values):
        table = jnp.zeros((height, values.shape[-1]), dtype)
        return table.at[ids].add(values, mode="drop")

    mean = scatter(rows * (each / jnp.where(total > 0, total, 1)))
    readers = scatter(jnp.broadcast_to(each, (*ids.shape, 1)))
    deviations = rows - mean.at[ids].get(mode="fill", fill_value=0)
    # Who did not read a row has gradient 0 there, which deviates by the mean.
    others = jnp.maximum(total - readers, 0)
    squares = scatter(lifted_square(deviations) * each) + others * lifted_square(mean)
    cubes = scatter(deviations**3 * each) - others * mean**3 if third else None
    return Sums(mean, squares, cubes)


def _merge(before: Sums, seen: jax.Array, grads: jax.Array, counts: jax.Array | None) -> Sums:
    """Sums of the union of what was ``seen`` and a chunk of gradients, None counting each once.

    Examples are added one by one: XLA's reduction over them is ten times slower on a CPU.
    """
    k, dtype = grads.shape[0], grads.dtype
    seen = seen.astype(dtype)
    each = [1.0] * k if counts is None else [counts[i].astype(dtype) for i in range(k)]
    new = jnp.asarray(float(k) if counts is None else jnp.sum(counts), dtype)
    # A chunk may count for nothing, and so may all that was seen before it.
    mean = _total(grads, each) * (1 / jnp.maximum(new, _ANY))
    deviations = [grads[i] - mean for i in range(k)]
    if counts is not None:
        # Who does not count may be too far from the mean to be squared.
        deviations = [jnp.where(c > 0, d, 0) for c, d in zip(each, deviations, strict=True)]
    within = _total([lifted_square(d) for d in deviations], each)
    share = new / jnp.maximum(seen + new, _ANY)
    apart = mean - before.mean
    # Weighed before it is squared: the first chunk is apart by all of its mean, for nothing.
    squares = before.squares + (within + lifted_square(apart * jnp.sqrt(seen * share)))
    cubes = None
    if before.cubes is not None:
        both = jnp.maximum(seen + new, _ANY)
        here = _total([d * d * d for d in deviations], each)
        between = apart * (seen * share * ((seen - new) / both)) * apart * apart
        across = apart * (within * (3 * seen / both) - before.squares * (3 * new / both))
        cubes = before.cubes + here + between + across
    return Sums(before.mean + apart * share, squares, cubes)


def _total(values: Any, counts: list[Any]) -> jax.Array:
    terms = [
        values[i] if isinstance(count, float) else values[i] * count
        for i, count in enumerate(counts)
    ]
    return reduce(jnp.add, terms)


def lifted_square(deviations):
    """Squares, where underflow makes none of them 0."""
    floor = 1024 * float(jnp.finfo(deviations.dtype).tiny)
    # The smallest normal number times this is more than the floor, and 0 stays 0.
    steep = jnp.abs(deviations) * 2.0**64
    return jnp.maximum(deviations * deviations, jnp.minimum(steep, floor))


def _scaled(values):
    """Values over a power of two near the largest of them, and that power."""
    largest = jnp.max(jnp.abs(values))
    sane = (largest > 0) & jnp.isfinite(largest)
    exponent = jnp.floor(jnp.log2(jnp.where(sane, largest, 1)))
    scale = jnp.exp2(jnp.clip(exponent, -100, 100))
    return values / scale, scale


def _factor_square(values):
    """Squares of factors, the smallest lifted so that no product of two squares is lost."""
    lifted = jnp.where(values != 0, jnp.maximum(jnp.abs(values), _SMALLEST_FACTOR), 0)
    return lifted * lifted
