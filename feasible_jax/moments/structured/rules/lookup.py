"""Embeddings and other indexing: the rows that an example reads, and no others."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from feasible_jax.moments.per_example import vary_like

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


class Spec(NamedTuple):
    """What is read from a table.

    Attributes:
      op: the operation.
      table: the shape of the table.
      axis: the axis along which whole rows are read, None for any other indexing.
      height: rows along that axis.
      width: entries of a row.
    """

    op: Any
    table: tuple[int, ...]
    axis: int | None
    height: int
    width: int


def make_spec(op: Any, used: int, avals: Any) -> Spec:
    """What the formulas need to know about an operation."""
    table = tuple(avals[used].shape)
    axis = _row_axis(op, table)
    height = 0 if axis is None else table[axis]
    width = 0 if axis is None else math.prod(size for d, size in enumerate(table) if d != axis)
    return Spec(op, table, axis, height, width)


def _row_axis(op: Any, table: tuple[int, ...]) -> int | None:
    if op.name != "gather":
        return None
    dims = op.params["dimension_numbers"]
    if dims.operand_batching_dims or len(dims.start_index_map) != 1:
        return None
    (axis,) = dims.start_index_map
    row = tuple(1 if d == axis else size for d, size in enumerate(table))
    whole = tuple(op.params["slice_sizes"]) == row and tuple(dims.collapsed_slice_dims) == (axis,)
    return axis if whole else None


def rows_and_ids(
    spec: Spec, residual: tuple[jax.Array, ...], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What each example read, and the gradient there.

    Returns:
      ``(n, t)`` the rows read, the number of rows for those out of bounds, and ``(n, t, width)``
      the gradient with respect to each.
    """
    dims, height = spec.op.params["dimension_numbers"], spec.height
    (ids,) = residual
    n = ids.shape[0]
    ids = ids.reshape((n, -1)).astype(jnp.int32)
    if spec.op.params["mode"] == jax.lax.GatherScatterMode.CLIP:
        ids = jnp.clip(ids, 0, height - 1)
    ids = jnp.where((ids < 0) | (ids >= height), height, ids)
    offsets = tuple(d + 2 for d in dims.offset_dims)
    rest = tuple(d for d in range(cotangent.ndim) if d not in offsets)
    rows = cotangent.transpose((*rest, *offsets)).reshape((n, ids.shape[1], -1))
    return ids, rows


def from_rows(spec: Spec, rows: jax.Array) -> jax.Array:
    """``(..., height, width)`` as ``(..., *table.shape)``."""
    lead = rows.ndim - 2
    rest = tuple(size for d, size in enumerate(spec.table) if d != spec.axis)
    shaped = rows.reshape((*rows.shape[:lead], spec.height, *rest))
    return jnp.moveaxis(shaped, lead, lead + (spec.axis or 0))


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


def per_example(spec: Spec, residual: tuple[jax.Array, ...], cotangent: jax.Array) -> jax.Array:
    """The dense gradient of every example, ``(n, *table.shape)``.

    Args:
      spec: from ``make_spec``.
      residual: the indices, ``(n, p, *shape)`` each.
      cotangent: ``(n, p, *result.shape)``.

    Returns:
      The sum over ``p`` of each example's gradient, in the dtype of the cotangent.
    """
    if spec.axis is not None:
        ids, rows = rows_and_ids(spec, residual, cotangent)
        n = ids.shape[0]
        dense = jnp.zeros((n, spec.height, spec.width), rows.dtype)
        return from_rows(spec, dense.at[jnp.arange(n)[:, None], ids].add(rows, mode="drop"))
    # Inside shard_map the gradient of a value that does not vary is summed over the shards.
    start = vary_like(jnp.zeros(spec.table, cotangent.dtype), cotangent)

    def one(indices, grad):
        return jax.vjp(lambda value: spec.op.bind(value, *indices)[0], start)[1](grad)[0]

    steps = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), (residual, cotangent))
    total = jax.vmap(one)(*jax.tree.map(lambda leaf: leaf[0], steps))
    if cotangent.shape[1] == 1:
        return total
    rest = jax.tree.map(lambda leaf: leaf[1:], steps)
    return jax.lax.scan(lambda sum_, here: (sum_ + jax.vmap(one)(*here), None), total, rest)[0]
