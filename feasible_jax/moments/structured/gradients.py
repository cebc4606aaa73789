"""From what a use left behind to the gradient of every example, or to their sums."""

import math
from collections.abc import Callable
from functools import partial
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
    lookup_sums,
    squared_sums,
    stacked_sums,
)

Data = tuple[tuple[jax.Array, ...], jax.Array]


def is_outer_product(use: Use) -> bool:
    """Whether each example's gradient is one outer product, so that squares factor."""
    if use.rule is None or not use.rule.PRODUCT or summed_steps(use) > 1:
        return False
    _, positions, _, _ = use.rule.sizes(use.spec)
    return positions == 1


def is_row_lookup(use: Use) -> bool:
    """Whether a use reads whole rows of a table."""
    return use.rule is lookup and use.spec.axis is not None


def summed_steps(use: Use) -> int:
    """At how many steps of scans one and the same weight is used."""
    return _steps(use, "sum")


def stacked_steps(use: Use) -> int:
    """How many weights of its own the use has, one for each step of scans."""
    return _steps(use, "stack")


def _steps(use: Use, mode: str) -> int:
    return math.prod(lv.boundary.length for lv in use.levels if lv.boundary.mode == mode)


def gradient_entries(use: Use, plan: Plan) -> int:
    """How many numbers one example's gradient at a use has."""
    return plan.program.avals[use.operand].size * stacked_steps(use)


def example_gradients(use: Use, plan: Plan, data: Data) -> jax.Array:
    """The gradient of every example with respect to what the outermost scope hands to a use.

    Args:
      use: the use.
      plan: its plan.
      data: residuals and cotangent, ``(n, *lengths, *shape)`` each.

    Returns:
      ``(n, *shape of use.top)``, float32 or wider.
    """

    def transpose(level: Level, grads: jax.Array) -> jax.Array:
        return jax.vmap(partial(_pull, level, plan))(grads)

    at_operand = partial(operand_gradients, use.rule, use.spec)
    return _through_levels(use, at_operand, transpose, axis=1)(_folded(use, data))


def use_sums(use: Use, plan: Plan, data: Data, weights: jax.Array | None, third: bool) -> Sums:
    """Sums over examples with respect to what the outermost scope hands to a use.

    Every entry of it must reach the use at most once.

    Args:
      use: the use.
      plan: its plan.
      data: residuals and cotangent, ``(n, *lengths, *shape)`` each.
      weights: ``(n,)``, or None for ones.
      third: whether to sum cubes as well.

    Returns:
      ``Sums``, each shaped like ``use.top``.
    """

    def transpose(level: Level, sums: Sums) -> Sums:
        unit = all(map(keeps_values, level.chain))
        return move_sums(sums, partial(_pull, level, plan), unit)

    def at_operand(data):
        if is_row_lookup(use):
            ids, rows = lookup.rows_and_ids(use.spec, *data)
            sums = lookup_sums(*lookup.compact(ids, rows, use.spec.height),
                               use.spec.height, weights, third)  # fmt: skip
            return jax.tree.map(partial(lookup.from_rows, use.spec), sums)
        if is_outer_product(use):
            left, right = use.rule.factors(use.spec, *data)
            sums = squared_sums(left[:, :, 0], right[:, :, 0], weights, third)
            return jax.tree.map(partial(use.rule.arrange, use.spec), sums)
        chunk = chunk_size(data[1].shape[0], gradient_entries(use, plan))
        sums_of = _product_sums if use.rule is not None and use.rule.PRODUCT else _operand_sums
        return sums_of(use.rule, use.spec, data, weights, chunk, third)

    return _through_levels(use, at_operand, transpose, axis=0)(_folded(use, data))


def operand_gradients(rule: Any, spec: Any, data: Data, arranged: bool = True) -> jax.Array:
    """The gradient of every example with respect to the operand itself.

    Args:
      rule: the closed form, None where the operand has an axis of examples.
      spec: what the rule needs to know.
      data: residuals and cotangent, ``(n, steps that add up, *shape)`` each.
      arranged: whether to put the dimensions in the operand's order.
    """
    residual, cotangent = data
    dtype = accumulation_dtype(cotangent)
    if rule is None:
        return jnp.sum(cotangent, axis=1, dtype=dtype)
    if not rule.PRODUCT:
        return rule.per_example(spec, residual, cotangent.astype(dtype))
    left, right = rule.factors(spec, residual, cotangent)
    dtype = accumulation_dtype(left, right)
    product = jnp.einsum("ngtc,ngtf->ngcf", left, right, preferred_element_type=dtype)
    return rule.arrange(spec, product) if arranged else product


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


def _operand_sums(rule, spec, data: Data, weights, chunk: int, third: bool) -> Sums:
    gradients = partial(operand_gradients, rule, spec, arranged=False)
    if chunk == data[1].shape[0]:
        sums = stacked_sums(gradients(data), weights, third)
    else:
        sums = chunked_sums(gradients, data, weights, chunk, third)
    product = rule is not None and rule.PRODUCT
    return jax.tree.map(partial(rule.arrange, spec), sums) if product else sums


# Layers of one shape are traced once. Indexing is not: its specification holds a piece of program.
_product_sums = jax.jit(_operand_sums, static_argnames=("rule", "spec", "chunk", "third"))


def _pull(level: Level, plan: Plan, grad: jax.Array) -> jax.Array:
    shape = plan.program.avals[level.source].shape
    return pull(level.chain, level.source, level.target, shape, grad)


def _folded(use: Use, data: Data) -> Data:
    """``(n, *lengths, ...)`` to ``(n, *stacked lengths, steps that add up, ...)``."""
    modes = [lv.boundary.mode for lv in use.levels if lv.boundary.mode != "same"]
    stacks = [1 + i for i, mode in enumerate(modes) if mode == "stack"]
    adds = [1 + i for i, mode in enumerate(modes) if mode == "sum"]

    def fold(leaf):
        leaf = leaf.transpose((0, *stacks, *adds, *range(1 + len(modes), leaf.ndim)))
        lead, rest = leaf.shape[: 1 + len(stacks)], leaf.shape[1 + len(modes) :]
        return leaf.reshape((*lead, summed_steps(use), *rest))

    return jax.tree.map(fold, data)


def _through_levels(use: Use, innermost: Callable, transpose: Callable, axis: int) -> Callable:
    """From a use outwards, one scope at a time."""

    def outwards(levels):
        if not levels:
            return innermost
        level, deeper = levels[0], outwards(levels[1:])

        def within(data):
            found = deeper(data)
            return transpose(level, found) if level.chain else found

        if level.boundary.mode == "stack":
            return jax.vmap(within, in_axes=1, out_axes=axis)
        return within

    return outwards(use.levels)
