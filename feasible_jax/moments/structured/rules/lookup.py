"""Embeddings and other indexing: the rows that an example reads, and no others."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PRODUCT = False


def applies(op: Any, plan: Any) -> bool:
    """The table is made of parameters; indices have no gradient."""
    return plan.weights_of(op) == [op.inputs[0]] and op.inputs.count(op.inputs[0]) == 1


def operand(op: Any, plan: Any) -> int:
    """The table."""
    return op.inputs[0]


def residuals(op: Any, used: int) -> tuple[Any, ...]:
    """The inputs that the gradient needs: the indices."""
    return tuple(op.inputs[1:])


def row_axis(op: Any, used: int, avals: Any) -> int | None:
    """The axis along which whole rows are read, or None for any other indexing."""
    if op.name != "gather":
        return None
    dims, table = op.params["dimension_numbers"], avals[used].shape
    if dims.operand_batching_dims or len(dims.start_index_map) != 1:
        return None
    (axis,) = dims.start_index_map
    whole = tuple(1 if d == axis else size for d, size in enumerate(table))
    rows = tuple(op.params["slice_sizes"]) == whole and dims.collapsed_slice_dims == (axis,)
    return axis if rows else None


def rows_and_ids(
    op: Any, used: int, avals: Any, residual: tuple[jax.Array, ...], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What each example read, and the gradient there.

    Returns:
      ``(n, t)`` the rows read, the number of rows for those out of bounds, and ``(n, t, width)``
      the gradient with respect to each.
    """
    dims, table = op.params["dimension_numbers"], avals[used].shape
    axis = row_axis(op, used, avals)
    height = table[axis]
    (ids,) = residual
    n = ids.shape[0]
    ids = ids.reshape((n, -1)).astype(jnp.int32)
    mode = op.params["mode"]
    if mode == jax.lax.GatherScatterMode.CLIP:
        ids = jnp.clip(ids, 0, height - 1)
    ids = jnp.where((ids < 0) | (ids >= height), height, ids)
    offsets = tuple(d + 2 for d in dims.offset_dims)
    rest = tuple(d for d in range(cotangent.ndim) if d not in offsets)
    rows = cotangent.transpose((*rest, *offsets)).reshape((n, ids.shape[1], -1))
    return ids, rows


def from_rows(used: int, avals: Any, axis: int, rows: jax.Array) -> jax.Array:
    """``(..., height, width)`` as ``(..., *table.shape)``."""
    table = avals[used].shape
    lead = rows.ndim - 2
    rest = tuple(size for d, size in enumerate(table) if d != axis)
    shaped = rows.reshape((*rows.shape[:lead], table[axis], *rest))
    return jnp.moveaxis(shaped, lead, lead + axis)


def compact(ids: jax.Array, rows: jax.Array, height: int) -> tuple[jax.Array, jax.Array]:
    """Add up the gradients of a row that one example read several times.

    Args:
      ids: ``(n, t)``; ``height`` or more for what is out of bounds.
      rows: ``(n, t, width)``.
      height: number of rows of the table.

    Returns:
      ``ids`` with every row at most once an example, ``height`` in the places left empty, and the
      sums.

    >>> ids, rows = compact(jnp.array([[4, 1, 4]]), jnp.array([[[1.0], [2.0], [3.0]]]), 9)
    >>> ids.tolist(), rows[..., 0].tolist()
    ([[1, 4, 9]], [[2.0, 4.0, 0.0]])
    """
    n, t, width = rows.shape
    if t == 1:
        return ids, rows
    ordered = jnp.sort(ids, axis=1)
    slot = jax.vmap(jnp.searchsorted)(ordered, ids)
    sums = jnp.zeros((n, t, width), rows.dtype).at[jnp.arange(n)[:, None], slot].add(rows)
    first = jnp.concatenate([jnp.ones((n, 1), bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    return jnp.where(first, ordered, height), sums


def per_example(
    op: Any, used: int, avals: Any, residual: tuple[jax.Array, ...], cotangent: jax.Array
) -> jax.Array:
    """The dense gradient of every example, ``(n, *table.shape)``.

    Args:
      op: the operation.
      used: the table's number.
      avals: shapes, by number.
      residual: the indices, ``(n, p, *shape)`` each.
      cotangent: ``(n, p, *result.shape)``.

    Returns:
      The sum over ``p`` of each example's gradient, in the dtype of the cotangent.
    """
    table, axis = avals[used], row_axis(op, used, avals)
    if axis is not None:
        ids, rows = rows_and_ids(op, used, avals, residual, cotangent)
        n, _, width = rows.shape
        dense = jnp.zeros((n, table.shape[axis], width), rows.dtype)
        dense = dense.at[jnp.arange(n)[:, None], ids].add(rows, mode="drop")
        return from_rows(used, avals, axis, dense)
    start = jnp.zeros(table.shape, cotangent.dtype)

    def one(indices, grad):
        return jax.vjp(lambda value: op.bind(value, *indices)[0], start)[1](grad)[0]

    def add(total, here):
        return total + jax.vmap(one)(*here), None

    swapped = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), (residual, cotangent))
    first, rest = (
        jax.tree.map(lambda leaf: leaf[0], swapped),
        jax.tree.map(lambda leaf: leaf[1:], swapped),
    )
    total = jax.vmap(one)(*first)
    return total if cotangent.shape[1] == 1 else jax.lax.scan(add, total, rest)[0]


def num_reads(op: Any, used: int, avals: Any) -> int:
    """How many entries of the table one example reads."""
    return int(np.prod(avals[op.outputs[0]].shape, dtype=np.int64))


def height_and_width(used: int, avals: Any, axis: int) -> tuple[int, int]:
    """The table as ``height`` rows of ``width`` entries."""
    table = avals[used].shape
    return table[axis], math.prod(size for d, size in enumerate(table) if d != axis)
