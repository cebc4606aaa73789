"""Sums over examples of gradients, their squares and cubes, each in the cheapest form."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from feasible_jax.moments.per_example import vary_like
from feasible_jax.moments.precision import accumulation_dtype

# What is left of sum(g^2) after the square of the mean is taken off is not known better than this
# part of it. A variance is never reported smaller: noise may be overstated, not understated.
_ROUNDING = {"float32": 2.0**-20, "float64": 2.0**-48}
# Factors smaller than this part of the largest are taken for this large where they are squared:
# the product of two such squares is still a normal number, so that nothing is lost to underflow.
_SMALLEST_FACTOR = 2.0**-30
# Bytes of per-example gradients held at once: what caches hold, and what an accelerator spares.
_CACHED_BYTES = {"cpu": 2**21}
_CHUNK_BYTES = {"cpu": 2**23}
_ACCELERATOR_BYTES = 2**27
_MOST_EXAMPLES = 8


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


def chunk_size(size: int, entries: int) -> int:
    """How many examples' gradients of ``entries`` numbers to hold at once, out of ``size``.

    All of them where they fit a cache. A few otherwise, so that what one product writes is still
    in the cache when it is squared.

    >>> chunk_size(64, 100), chunk_size(64, 100_000), chunk_size(64, 10**8)
    (64, 8, 1)
    """
    platform = jax.default_backend()
    if 4 * size * entries <= _CACHED_BYTES.get(platform, _ACCELERATOR_BYTES):
        return size
    allowed = _CHUNK_BYTES.get(platform, _ACCELERATOR_BYTES) // (4 * max(entries, 1))
    return max(1, min(size, allowed, _MOST_EXAMPLES))


def squared_sums(
    left: jax.Array, right: jax.Array, weights: jax.Array | None, third: bool
) -> Sums:
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
        return jnp.einsum("ngc,ngf->gcf", a, b, preferred_element_type=dtype)

    mean = product(left, right) * share
    a, a_scale = _scaled(left.astype(dtype))
    b, b_scale = _scaled(right.astype(dtype))
    # In units of the largest gradient there can be, so that nothing overflows on the way.
    unit = a_scale * b_scale
    scaled_mean = mean / unit
    raw = product(_lifted_square(a), _lifted_square(b))
    rounding = raw * _ROUNDING[dtype.name]
    squares = jnp.maximum(raw - scaled_mean * scaled_mean * total, rounding)
    cubes = None
    if third:
        cubes = product(a * a * a, b * b * b)
        cubes = cubes - scaled_mean * (3 * raw - 2 * scaled_mean * scaled_mean * total)
        cubes = cubes * unit * unit * unit
    return Sums(mean, squares * unit * unit, cubes)


def chunked_sums(
    per_example: Callable[[Any], jax.Array],
    batch: Any,
    weights: jax.Array | None,
    chunk: int,
    third: bool,
) -> Sums:
    """Sums of per-example gradients that are made ``chunk`` examples at a time.

    Deviations are taken from the gradient of the first example, so that little cancels where the
    mean is large beside the standard deviation. Examples are added one by one: XLA's reduction
    over them is ten times slower on a CPU.

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
    first = jax.tree.map(lambda g: g[0], per_example(_rows(batch, 0, 1)))
    powers = 3 if third else 2

    def start(like):
        zero = vary_like(jnp.zeros_like(like), batch)
        return (zero,) * powers

    def step(sums, begin):
        # The last chunk reaches back to be full; what was seen before counts for nothing.
        here = jnp.minimum(begin, size - chunk)
        grads = per_example(_rows(batch, here, chunk))
        counts = _counts(weights, here, begin, chunk, size)
        return jax.tree.map(
            lambda g, f, s: _add_rows(g, f, s, counts), grads, first, sums,
            is_leaf=lambda node: isinstance(node, tuple),
        ), None  # fmt: skip

    begins = jnp.arange(0, size, chunk)
    sums = jax.tree.map(start, first)
    if len(begins) == 1:
        sums, _ = step(sums, 0)
    else:
        sums, _ = jax.lax.scan(step, sums, begins)
    total = size if weights is None else jnp.sum(weights)
    return jax.tree.map(
        lambda f, s: _central(f, s, jnp.asarray(total).astype(f.dtype)), first, sums,
    )  # fmt: skip


def stacked_sums(grads: jax.Array, weights: jax.Array | None, third: bool) -> Sums:
    """Sums of a stack of per-example gradients, ``(n, *shape)``, in two passes."""
    dtype = accumulation_dtype(grads)
    n = grads.shape[0]
    ones = jnp.ones((n,), dtype) if weights is None else weights.astype(dtype)
    total = jnp.sum(ones)
    grads = grads.astype(dtype)

    def over_examples(w, values):
        # As a matrix product: XLA's reduction over a leading axis is slow on a CPU.
        return jnp.tensordot(w, values, axes=1, precision=jax.lax.Precision.HIGHEST)

    mean = over_examples(ones / jnp.where(total > 0, total, 1), grads)
    deviations = grads - mean[None]
    squares = over_examples(ones, _lifted(deviations))
    cubes = over_examples(ones, deviations**3) if third else None
    return Sums(mean, squares, cubes)


def _rows(batch: Any, begin: Any, count: int) -> Any:
    def rows(leaf):
        if count == leaf.shape[0]:
            return leaf
        return jax.lax.dynamic_slice_in_dim(leaf, begin, count)

    return jax.tree.map(rows, batch)


def _counts(weights, here, begin, chunk, size):
    if weights is None and size % chunk == 0:
        return None
    fresh = here + jnp.arange(chunk) >= begin
    rows = jnp.ones((chunk,)) if weights is None else _rows(weights, here, chunk)
    return jnp.where(fresh, rows, 0)


def _add_rows(grads, first, sums, counts):
    for i in range(grads.shape[0]):
        deviation = grads[i].astype(first.dtype) - first
        power = deviation
        added = []
        for k, total in enumerate(sums):
            if k == 1:
                power = _lifted(deviation)
            elif k == 2:
                power = deviation * deviation * deviation
            weight = 1 if counts is None else counts[i].astype(power.dtype)
            added.append(total + (power if counts is None else power * weight))
        sums = tuple(added)
    return sums


def _central(first, sums, total):
    shift = sums[0] / jnp.where(total > 0, total, 1)
    rounding = sums[1] * _ROUNDING[first.dtype.name]
    squares = jnp.maximum(sums[1] - shift * shift * total, rounding)
    cubes = None
    if len(sums) == 3:
        cubes = sums[2] - 3 * shift * sums[1] + 2 * shift * shift * shift * total
    return Sums(first + shift, squares, cubes)


def _lifted(deviations):
    """Squares, where underflow makes none of them 0."""
    floor = 1024 * float(jnp.finfo(deviations.dtype).tiny)
    return jnp.where(deviations != 0, jnp.maximum(deviations * deviations, floor), 0)


def _scaled(values):
    """Values over a power of two near the largest of them, and that power."""
    largest = jnp.max(jnp.abs(values))
    sane = (largest > 0) & jnp.isfinite(largest)
    exponent = jnp.floor(jnp.log2(jnp.where(sane, largest, 1)))
    scale = jnp.exp2(jnp.clip(exponent, -100, 100))
    return values / scale, scale


def _lifted_square(values):
    """Squares of factors, the smallest lifted so that no product of two squares is lost."""
    lifted = jnp.where(values != 0, jnp.maximum(jnp.abs(values), _SMALLEST_FACTOR), 0)
    return lifted * lifted
