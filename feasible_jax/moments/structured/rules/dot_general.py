"""Matrix products of every arrangement: dense layers, attention projections, bilinear forms."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PRODUCT = True


def applies(op: Any, plan: Any) -> bool:
    """One operand is made of parameters alone, the other depends on the example."""
    return len(plan.weights_of(op)) == 1


def operand(op: Any, plan: Any) -> int:
    """The operand that is made of parameters."""
    return plan.weights_of(op)[0]


def residuals(op: Any, used: int) -> tuple[Any, ...]:
    """The inputs that the gradient needs: the other operand."""
    return (op.inputs[1 - op.inputs.index(used)],)


class _Dimensions:
    """Which dimensions of the other operand, the weight and the result belong together."""

    def __init__(self, op: Any, used: int, avals: Any):
        contract, batch = op.params["dimension_numbers"]
        self.weight_first = op.inputs[0] == used
        this, other = (0, 1) if self.weight_first else (1, 0)
        self.weight_shape = avals[used].shape
        other_atom = op.inputs[other]
        self.x_shape = avals[other_atom].shape
        self.x_batch, self.w_batch = tuple(batch[other]), tuple(batch[this])
        self.x_sum, self.w_sum = tuple(contract[other]), tuple(contract[this])
        self.x_free = _rest(len(self.x_shape), self.x_batch, self.x_sum)
        self.w_free = _rest(len(self.weight_shape), self.w_batch, self.w_sum)

    def weight_sizes(self, dims: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self.weight_shape[d] for d in dims)


def _rest(rank: int, *taken: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(d for d in range(rank) if not any(d in dims for dims in taken))


def sizes(op: Any, used: int, avals: Any) -> tuple[int, int, int, int]:
    """``(groups, positions, inputs, outputs)``: how the product is batched, summed and shaped."""
    dims = _Dimensions(op, used, avals)
    positions = math.prod(dims.x_shape[d] for d in dims.x_free)
    parts = (dims.w_batch, dims.w_sum, dims.w_free)
    groups, inputs, outputs = (math.prod(dims.weight_sizes(part)) for part in parts)
    return groups, positions, inputs, outputs


def factors(
    op: Any, used: int, avals: Any, residual: tuple[jax.Array, ...], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The two factors whose product over positions is the gradient.

    Args:
      op: the operation.
      used: the weight's number.
      avals: shapes, by number.
      residual: the other operand, ``(n, p, *shape)``.
      cotangent: ``(n, p, *result.shape)``.

    Returns:
      ``(n, groups, p * positions, inputs)`` and ``(n, groups, p * positions, outputs)``.
    """
    (x,) = residual
    dims = _Dimensions(op, used, avals)
    groups, positions, inputs, outputs = sizes(op, used, avals)
    n, p = x.shape[:2]
    order = (0, *_shift(dims.x_batch), 1, *_shift(dims.x_free), *_shift(dims.x_sum))
    left = x.transpose(order).reshape((n, groups, p * positions, inputs))
    # The result's dimensions: batch, then what is free in the first operand, then in the second.
    num_batch, num_x, num_w = len(dims.x_batch), len(dims.x_free), len(dims.w_free)
    batch = tuple(range(num_batch))
    first = tuple(range(num_batch, num_batch + (num_w if dims.weight_first else num_x)))
    second = tuple(range(num_batch + len(first), num_batch + num_x + num_w))
    w_out, x_out = (first, second) if dims.weight_first else (second, first)
    order = (0, *_shift(batch), 1, *_shift(x_out), *_shift(w_out))
    right = cotangent.transpose(order).reshape((n, groups, p * positions, outputs))
    return left, right


def arrange(op: Any, used: int, avals: Any, stack: jax.Array) -> jax.Array:
    """``(..., groups, inputs, outputs)`` as ``(..., *weight.shape)``."""
    dims = _Dimensions(op, used, avals)
    lead = stack.ndim - 3
    order = (*dims.w_batch, *dims.w_sum, *dims.w_free)
    shape = (*stack.shape[:lead], *dims.weight_sizes(order))
    back = np.argsort(order) if order else ()
    return jnp.transpose(stack.reshape(shape), (*range(lead), *(lead + int(d) for d in back)))


def _shift(dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(d + 2 for d in dims)
