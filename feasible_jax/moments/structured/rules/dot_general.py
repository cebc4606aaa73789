"""Matrix products of every arrangement: dense layers, attention projections, bilinear forms."""

import math
from typing import Any, NamedTuple

import jax

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


class Spec(NamedTuple):
    """Which dimensions of the other operand ``x`` and of the weight ``w`` belong together.

    Attributes:
      weight_first: whether the weight is the first operand.
      x_batch: batch dimensions, in the order of ``w_batch``; likewise ``x_sum`` and ``w_sum``,
        summed over, and ``x_free`` and ``w_free``, which stay in the result.
      w_shape: the shape of the weight.
      x_shape: the shape of the other operand.
    """

    weight_first: bool
    x_batch: tuple[int, ...]
    x_sum: tuple[int, ...]
    x_free: tuple[int, ...]
    w_batch: tuple[int, ...]
    w_sum: tuple[int, ...]
    w_free: tuple[int, ...]
    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]


def make_spec(op: Any, used: int, avals: Any) -> Spec:
    """What the formulas need to know about an operation."""
    contract, batch = op.params["dimension_numbers"]
    weight_first = op.inputs[0] == used
    w, x = (0, 1) if weight_first else (1, 0)
    x_shape, w_shape = avals[op.inputs[x]].shape, avals[used].shape
    x_taken, w_taken = ((*batch[i], *contract[i]) for i in (x, w))
    x_free = tuple(d for d in range(len(x_shape)) if d not in x_taken)
    w_free = tuple(d for d in range(len(w_shape)) if d not in w_taken)
    return Spec(
        weight_first, tuple(batch[x]), tuple(contract[x]), x_free,
        tuple(batch[w]), tuple(contract[w]), w_free, tuple(x_shape), tuple(w_shape),
    )  # fmt: skip


def sizes(spec: Spec) -> tuple[int, int, int, int]:
    """``(groups, positions, inputs, outputs)``: how the product is batched, summed and shaped."""
    positions = math.prod(spec.x_shape[d] for d in spec.x_free)
    parts = (spec.w_batch, spec.w_sum, spec.w_free)
    groups, inputs, outputs = (math.prod(spec.w_shape[d] for d in part) for part in parts)
    return groups, positions, inputs, outputs


def factors(
    spec: Spec, residual: tuple[jax.Array, ...], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The two factors whose product over positions is the gradient.

    Args:
      spec: from ``make_spec``.
      residual: the other operand, ``(n, p, *shape)``.
      cotangent: ``(n, p, *result.shape)``.

    Returns:
      ``(n, groups, p * positions, inputs)`` and ``(n, groups, p * positions, outputs)``.
    """
    (x,) = residual
    groups, positions, inputs, outputs = sizes(spec)
    n, p = x.shape[:2]
    order = (0, *_shift(spec.x_batch), 1, *_shift(spec.x_free), *_shift(spec.x_sum))
    left = x.transpose(order).reshape((n, groups, p * positions, inputs))
    # The result's dimensions: batch, then what is free in the first operand, then in the second.
    num_batch, num_x, num_w = len(spec.x_batch), len(spec.x_free), len(spec.w_free)
    num_first = num_w if spec.weight_first else num_x
    first = tuple(range(num_batch, num_batch + num_first))
    second = tuple(range(num_batch + num_first, num_batch + num_x + num_w))
    w_out, x_out = (first, second) if spec.weight_first else (second, first)
    order = (0, *_shift(tuple(range(num_batch))), 1, *_shift(x_out), *_shift(w_out))
    right = cotangent.transpose(order).reshape((n, groups, p * positions, outputs))
    return left, right


def arrange(spec: Spec, stack: jax.Array) -> jax.Array:
    """``(..., groups, inputs, outputs)`` as ``(..., *weight.shape)``."""
    lead = stack.ndim - 3
    order = (*spec.w_batch, *spec.w_sum, *spec.w_free)
    parts = stack.reshape((*stack.shape[:lead], *(spec.w_shape[d] for d in order)))
    return parts.transpose((*range(lead), *(lead + order.index(d) for d in range(len(order)))))


def _shift(dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(d + 2 for d in dims)
