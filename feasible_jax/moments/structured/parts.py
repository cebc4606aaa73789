"""A batch in parts: a CPU is faster, and holds less, where it sees few examples at a time."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.gradient_moments import GradientMoments
from feasible_jax.moments.merging import merge_moments
from feasible_jax.moments.per_example import vary_like
from feasible_jax.moments.structured.program import Op, Program, Scope
from feasible_jax.moments.structured.sums import lifted_square

# Measured on transformers: parts of 16 examples are the fastest, where activations are this large.
_PART = 16
_LARGE_BYTES = 2**31
# XLA compiles convolutions inside a loop to code several times slower than outside one.
_SMALL_SHARE = 1 / 50


def part_size(program: Program, size: int) -> int:
    """How many examples of a batch of ``size`` to take at a time: all, or a few.

    Args:
      program: the loss of one example.
      size: the number of examples.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.moments.structured.program import trace_program
    >>> part_size(trace_program(lambda w, x: w @ x, jnp.ones(3), jnp.ones((64, 3))), 64)
    64
    """
    # Of a batch that is spread over devices, a part would lie on one of them.
    if jax.default_backend() != "cpu" or jax.device_count() > 1 or size < 2 * _PART:
        return size
    total = in_convolutions = 0
    for op, times in _operations(program.scope):
        size_in_bytes = times * _bytes(program, op)
        total += size_in_bytes
        in_convolutions += size_in_bytes if op.name == "conv_general_dilated" else 0
    large = size * total >= _LARGE_BYTES
    return _PART if large and in_convolutions <= _SMALL_SHARE * total else size


def moments_in_parts(
    moments_of: Callable[[Any, jax.Array | None], tuple[Any, GradientMoments]],
    batch: Any,
    weights: jax.Array | None,
    part: int,
) -> tuple[Any, GradientMoments]:
    """The results and moments of a batch, ``part`` examples at a time.

    A ragged last part is filled up with copies of the first example that weigh nothing.

    Args:
      moments_of: ``(examples, weights) -> (results, moments)`` of a part, results with a leading
        axis of examples.
      batch: a tree of arrays with a leading axis of ``B`` examples.
      weights: ``(B,)``, or None for ones.
      part: examples at a time, at least 2.

    >>> from feasible_jax.moments import moments_from_per_example
    >>> of = lambda grads, weights: (grads, moments_from_per_example(grads, weights))
    >>> grads, moments = moments_in_parts(of, jnp.array([1.0, 3.0, 5.0]), None, 2)
    >>> float(moments.mean), float(moments.variance), float(moments.count), grads.tolist()
    (3.0, 4.0, 3.0, [1.0, 3.0, 5.0])
    """
    size = jax.tree.leaves(batch)[0].shape[0]
    fill = -size % part
    if fill and weights is None:
        weights = jnp.ones((size,), jnp.float32)
    padded = None if weights is None else jnp.concatenate([weights, jnp.zeros_like(weights[:fill])])

    def divide(leaf):
        leaf = jnp.concatenate([leaf, jnp.broadcast_to(leaf[:1], (fill, *leaf.shape[1:]))])
        return leaf.reshape((-1, part, *leaf.shape[1:]))

    parts = jax.tree.map(divide, batch), None if padded is None else padded.reshape((-1, part))

    empty = _none_yet(moments_of, parts, batch)
    # With counts known beforehand, a part is merged by a few operations a leaf.
    merge = _merge_full if weights is None and empty.third is None else merge_moments

    def step(before, part_and_weights):
        results, here = moments_of(*part_and_weights)
        return merge(before, here), results

    moments, results = jax.lax.scan(step, empty, parts)
    return jax.tree.map(lambda leaf: leaf.reshape((-1, *leaf.shape[2:]))[:size], results), moments


def _merge_full(before: GradientMoments, part: GradientMoments) -> GradientMoments:
    """``merge_moments`` where every part has the same number of examples, at least two.

    The variance of nothing, before the first part, is taken for 0.
    """
    seen, new = before.count, part.count
    both = seen + new
    others = jnp.maximum(seen - 1, 0)

    def merge(mean, variance, new_mean, new_variance):
        apart = new_mean - mean
        between = lifted_square(apart * jnp.sqrt(seen * new / both))
        squares = variance * others + (new_variance * (new - 1) + between)
        return mean + apart * (new / both), squares * (1 / (both - 1))

    merged = jax.tree.map(merge, before.mean, before.variance, part.mean, part.variance)
    mean, variance = (jax.tree.map(lambda _, m, i=i: m[i], before.mean, merged) for i in (0, 1))
    return GradientMoments(mean, variance, both)


def _none_yet(moments_of, parts, batch) -> GradientMoments:
    first = jax.tree.map(lambda leaf: leaf[0], parts)
    like = jax.eval_shape(moments_of, *first)[1]

    def full(value, tree):
        return jax.tree.map(lambda leaf: jnp.full(leaf.shape, value, leaf.dtype), tree)

    third = None if like.third is None else full(jnp.nan, like.third)
    count = jnp.zeros((), like.count.dtype)
    empty = GradientMoments(full(0, like.mean), full(jnp.inf, like.variance), count, third)
    if third is None:
        empty = empty._replace(variance=full(0, like.variance))
    return vary_like(empty, batch)


def _operations(scope: Scope, times: int = 1) -> Iterator[tuple[Op, int]]:
    """Every operation, and how often it runs."""
    for op in scope.ops:
        yield op, times
        length = op.params["length"] if op.name == "scan" else 1
        for body in op.bodies:
            yield from _operations(body, times * length)


def _bytes(program: Program, op: Op) -> int:
    avals = (program.avals[out] for out in op.outputs)
    return sum(math.prod(aval.shape) * aval.dtype.itemsize for aval in avals)
