"""From a use's inputs and outputs to the gradient of every example, or to their sums."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.precision import accumulation_dtype
from feasible_jax.moments.structured.paths import keeps_values, pull
from feasible_jax.moments.structured.plan import Level, Plan, Use
from feasible_jax.moments.structured.rules import lookup
from feasible_jax.moments.structured.sums import (
    Sums,
    chunk_size,
    chunked_sums,
    squared_sums,
    stacked_sums,
)


def is_outer_product(use: Use, plan: Plan) -> bool:
    """Whether each example's gradient is one outer product, so that squares factor."""
    if use.rule is None or not use.rule.PRODUCT or summed_steps(use) > 1:
        return False
    _, positions, _, _ = use.rule.sizes(use.op, use.operand, plan.program.avals)
    return positions == 1


def is_row_lookup(use: Use, plan: Plan) -> bool:
    """Whether a use reads whole rows of a table."""
    return (
        use.rule is lookup
        and lookup.row_axis(use.op, use.operand, plan.program.avals) is not None
    )


def summed_steps(use: Use) -> int:
    """At how many steps of scans one and the same weight is used."""
    return math.prod(lv.boundary.length for lv in use.levels if lv.boundary.mode == "sum")


def stacked_steps(use: Use) -> int:
    """How many weights of its own the use has, one for each step of scans."""
    return math.prod(lv.boundary.length for lv in use.levels if lv.boundary.mode == "stack")


def example_gradients(use: Use, plan: Plan, data: tuple[Any, jax.Array]) -> jax.Array:
    """The gradient of every example with respect to what the outermost scope hands to a use.

    Args:
      use: the use.
      plan: its plan.
      data: the residuals and the cotangent, ``(n, *lengths, *shape)`` each.

    Returns:
      ``(n, *shape of use.top)``, float32 or wider.
    """
    avals = plan.program.avals

    def innermost(data):
        residual, cotangent = data
        if use.rule is None:
            return jnp.sum(cotangent, axis=1, dtype=accumulation_dtype(cotangent))
        if not use.rule.PRODUCT:
            wide = cotangent.astype(accumulation_dtype(cotangent))
            return use.rule.per_example(use.op, use.operand, avals, residual, wide)
        left, right = use.rule.factors(use.op, use.operand, avals, residual, cotangent)
        dtype = accumulation_dtype(left, right)
        product = jnp.einsum("ngtc,ngtf->ngcf", left, right, preferred_element_type=dtype)
        return use.rule.arrange(use.op, use.operand, avals, product)

    def transpose(level: Level, grads: jax.Array) -> jax.Array:
        if not level.chain:
            return grads
        shape = avals[level.source].shape
        return jax.vmap(lambda g: pull(level.chain, level.source, level.target, shape, g))(grads)

    return _through_levels(use, innermost, transpose, axis=1)(_folded(use, data))


def use_sums(
    use: Use, plan: Plan, data: tuple[Any, jax.Array], weights: jax.Array | None, third: bool
) -> Sums:
    """Sums over examples with respect to what the outermost scope hands to a use.

    Every entry of it must reach the use at most once, see ``moves_only``.

    Args:
      use: the use.
      plan: its plan.
      data: the residuals and the cotangent, ``(n, *lengths, *shape)`` each.
      weights: ``(n,)``, or None for ones.
      third: whether to sum cubes as well.

    Returns:
      ``Sums``, each shaped like ``use.top``.
    """
    avals = plan.program.avals

    def innermost(data):
        residual, cotangent = data
        if use.rule is None:
            return stacked_sums(_first_axis_summed(cotangent), weights, third)
        if is_row_lookup(use, plan):
            return _lookup_sums(use, avals, residual, cotangent, weights, third)
        if is_outer_product(use, plan):
            left, right = use.rule.factors(use.op, use.operand, avals, residual, cotangent)
            sums = squared_sums(left[:, :, 0], right[:, :, 0], weights, third)
            return jax.tree.map(lambda s: use.rule.arrange(use.op, use.operand, avals, s), sums)
        return _chunked(use, plan, data, weights, third)

    def transpose(level: Level, sums: Sums) -> Sums:
        if not level.chain:
            return sums
        shape = avals[level.source].shape
        return move_sums(
            sums, lambda g: pull(level.chain, level.source, level.target, shape, g),
            unit=all(map(keeps_values, level.chain)),
        )  # fmt: skip

    return _through_levels(use, innermost, transpose, axis=0)(_folded(use, data))


def move_sums(sums: Sums, back: Callable[[jax.Array], jax.Array], unit: bool) -> Sums:
    """Sums before a linear map of which each entry reaches at most one entry after it.

    The gradient before is ``a g`` with one factor an entry, so squares gain ``a^2``, cubes ``a^3``.

    Args:
      sums: with respect to the map's result.
      back: the transpose of the map.
      unit: whether every factor is 1.
    """
    mean, squares, cubes = back(sums.mean), back(sums.squares), sums.cubes
    factor = 1 if unit else back(jnp.ones_like(sums.mean))
    cubes = None if cubes is None else back(cubes) * factor * factor
    return Sums(mean, squares * factor, cubes)


def gradient_entries(use: Use, plan: Plan) -> int:
    """How many numbers one example's gradient at a use has."""
    return plan.program.avals[use.operand].size * stacked_steps(use)


def _chunked(use, plan, data, weights, third) -> Sums:
    avals = plan.program.avals

    def grads(rows):
        residual, cotangent = rows
        if not use.rule.PRODUCT:
            wide = cotangent.astype(accumulation_dtype(cotangent))
            return use.rule.per_example(use.op, use.operand, avals, residual, wide)
        left, right = use.rule.factors(use.op, use.operand, avals, residual, cotangent)
        dtype = accumulation_dtype(left, right)
        return jnp.einsum("ngtc,ngtf->ngcf", left, right, preferred_element_type=dtype)

    size = data[1].shape[0]
    chunk = chunk_size(size, gradient_entries(use, plan))
    if chunk == size:
        sums = stacked_sums(grads(data), weights, third)
    else:
        sums = chunked_sums(grads, data, weights, chunk, third)
    if use.rule.PRODUCT:
        sums = jax.tree.map(lambda s: use.rule.arrange(use.op, use.operand, avals, s), sums)
    return sums


def _lookup_sums(use, avals, residual, cotangent, weights, third) -> Sums:
    axis = lookup.row_axis(use.op, use.operand, avals)
    height, width = lookup.height_and_width(use.operand, avals, axis)
    wide = cotangent.astype(accumulation_dtype(cotangent))
    ids, rows = lookup.rows_and_ids(use.op, use.operand, avals, residual, wide)
    ids, rows = lookup.compact(ids, rows, height)
    w = jnp.ones(ids.shape[:1], rows.dtype) if weights is None else weights.astype(rows.dtype)
    total = jnp.sum(w)
    each = w[:, None, None]

    def scatter(values):
        table = jnp.zeros((height, values.shape[-1]), values.dtype)
        return table.at[ids].add(values, mode="drop")

    mean = scatter(rows * (each / jnp.where(total > 0, total, 1)))
    readers = scatter(jnp.broadcast_to(each, (*ids.shape, 1)))
    deviations = rows - mean.at[ids].get(mode="fill", fill_value=0)
    # Who did not read a row has gradient 0 there, which deviates by the mean.
    others = jnp.maximum(total - readers, 0)
    floor = 1024 * float(jnp.finfo(rows.dtype).tiny)
    lift = lambda v: jnp.where(v != 0, jnp.maximum(v * v, floor), 0)  # noqa: E731
    squares = scatter(lift(deviations) * each) + others * lift(mean)
    cubes = scatter(deviations**3 * each) - others * mean**3 if third else None
    sums = Sums(mean, squares, cubes)
    return jax.tree.map(lambda s: lookup.from_rows(use.operand, avals, axis, s), sums)


def _first_axis_summed(cotangent: jax.Array) -> jax.Array:
    return jnp.sum(cotangent, axis=1, dtype=accumulation_dtype(cotangent))


def _folded(use: Use, data: Any) -> Any:
    """``(n, *lengths, ...)`` to ``(n, *stacked lengths, steps that add up, ...)``."""
    modes = [lv.boundary.mode for lv in use.levels if lv.boundary.mode != "same"]

    def fold(leaf):
        stacks = [1 + i for i, mode in enumerate(modes) if mode == "stack"]
        adds = [1 + i for i, mode in enumerate(modes) if mode == "sum"]
        rest = range(1 + len(modes), leaf.ndim)
        leaf = leaf.transpose((0, *stacks, *adds, *rest))
        lead = leaf.shape[: 1 + len(stacks)]
        return leaf.reshape((*lead, summed_steps(use), *leaf.shape[1 + len(modes) :]))

    return jax.tree.map(fold, data)


def _through_levels(use: Use, innermost: Callable, transpose: Callable, axis: int) -> Callable:
    """From a use outwards, one scope at a time."""

    def outwards(levels):
        if not levels:
            return innermost
        level, deeper = levels[0], outwards(levels[1:])
        within = lambda data: transpose(level, deeper(data))  # noqa: E731
        if level.boundary.mode == "stack":
            return jax.vmap(within, in_axes=1, out_axes=axis)
        return within

    return outwards(use.levels)
