"""How a parameter reaches its use: reshapes, transposes, casts and slices on the way."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.per_example import vary_like
from feasible_jax.moments.structured.program import Constant, Op

# Each entry of the result is one entry of the input: their transposes move entries, and squares of
# a gradient move as the gradient does.
_MOVES = {
    "reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "convert_element_type",
    "slice", "rev", "copy", "copy_p", "sharding_constraint", "optimization_barrier", "split",
    "reduce_precision", "pad", "mesh_cast", "reshard",
}  # fmt: skip
# Precision is that of the gradients themselves on the way back.
_CASTS = {"convert_element_type", "reduce_precision"}
# Likewise, up to a factor or a summand that is the same for all entries.
_SCALES = {"neg", "mul", "div", "add", "sub"}
# Acting on each entry by itself, so that an entry of the input still reaches one of the output.
_ELEMENTWISE = {
    *_SCALES, "exp", "exp2", "log", "log1p", "expm1", "tanh", "logistic", "sqrt", "rsqrt", "cbrt",
    "square", "integer_pow", "pow", "sin", "cos", "abs", "sign", "max", "min", "erf", "floor",
    "ceil", "round", "clamp", "select_n", "is_finite",
}  # fmt: skip
# Sums send each entry of the input to one entry of the output too.
_SUMS = {"reduce_sum"}
_JOINS = {"concatenate", "dynamic_slice"}


def is_structural(op: Op, avals: Sequence[Any]) -> bool:
    """Whether an operation on one parameter is affine, with coefficients that it knows itself."""
    if not all(jnp.issubdtype(avals[out].dtype, jnp.floating) for out in op.outputs):
        return False
    if sum(isinstance(atom, int) for atom in op.inputs) != 1:
        return False
    # As the second input a value is divided by, or padded with.
    first = isinstance(op.inputs[0], int)
    return (op.name in _SCALES and (first or op.name != "div")) or (op.name in _MOVES and first)


def is_elementwise(op: Op) -> bool:
    """Whether an operation acts on each entry by itself."""
    return op.name in _ELEMENTWISE


def fans_out(op: Op, weights: Sequence[int], avals: Sequence[Any]) -> bool:
    """Whether one entry of an input may reach several entries of the output."""
    if op.name == "broadcast_in_dim" or op.name in _ELEMENTWISE:
        # Elementwise operations stretch axes of length 1 without saying so.
        return any(avals[w].size != avals[op.outputs[0]].size for w in weights)
    pads_with_weight = op.name == "pad" and op.inputs[1] in weights
    return pads_with_weight or op.name not in (_MOVES | _SUMS | _JOINS)


def keeps_values(op: Op) -> bool:
    """Whether all that an operation does is to move entries, or to cast them."""
    return op.name in _MOVES


def pull(
    chain: Sequence[Op], source: int, target: int, shape: tuple[int, ...], cotangent: jax.Array
) -> jax.Array:
    """The transpose of structural operations: from the gradient at their end to the one before.

    Args:
      chain: the operations, first to last.
      source: the value that they start from.
      target: the value that they end in.
      shape: the shape of ``source``.
      cotangent: the gradient with respect to ``target``.

    Returns:
      The gradient with respect to ``source``, in the dtype of ``cotangent``.
    """
    if all(map(_only_reshapes, chain)):
        return cotangent if cotangent.shape == shape else cotangent.reshape(shape)

    def run(value):
        values = {source: value}
        for op in chain:
            values.update(zip(op.outputs, _bind_in(op, values, value.dtype), strict=True))
        return values[target]

    # The operations are affine, so that their transpose is the same at every point.
    start = vary_like(jnp.zeros(shape, cotangent.dtype), cotangent)
    return jax.vjp(run, start)[1](cotangent)[0]


def _only_reshapes(op: Op) -> bool:
    if op.name == "reshape":
        return op.params["dimensions"] is None  # else it transposes as well
    return op.name in _CASTS or op.name in ("squeeze", "expand_dims")


def _bind_in(op: Op, values: dict[int, jax.Array], dtype: Any) -> list[jax.Array]:
    """Apply one operation in a dtype of our own; float casts are left out."""
    inputs = [
        jnp.asarray(atom.value, dtype) if isinstance(atom, Constant) else values[atom]
        for atom in op.inputs
    ]
    if op.name in _CASTS:
        return inputs[:1]
    return op.bind(*inputs)
