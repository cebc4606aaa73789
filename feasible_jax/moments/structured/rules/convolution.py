"""Convolutions of any rank, stride, dilation, padding and number of feature groups."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PRODUCT = True


def applies(op: Any, plan: Any) -> bool:
    """The kernel is made of parameters; a transposed gradient's batch groups are left alone."""
    kernel_only = plan.weights_of(op) == [op.inputs[1]]
    return kernel_only and op.params["batch_group_count"] == 1


def operand(op: Any, plan: Any) -> int:
    """The kernel."""
    return op.inputs[1]


def residuals(op: Any, used: int) -> tuple[Any, ...]:
    """The inputs that the gradient needs: the image."""
    return (op.inputs[0],)


class _Window:
    """Sizes of a convolution, spatial dimensions in the kernel's order."""

    def __init__(self, op: Any, used: int, avals: Any):
        params, dims = op.params, op.params["dimension_numbers"]
        kernel, out = avals[used].shape, avals[op.outputs[0]].shape
        self.lhs, self.rhs, self.out = dims.lhs_spec, dims.rhs_spec, dims.out_spec
        self.kernel = tuple(kernel[d] for d in self.rhs[2:])
        self.groups = params["feature_group_count"]
        self.features = kernel[self.rhs[0]] // self.groups
        self.channels = kernel[self.rhs[1]]
        self.batch = out[self.out[0]]
        self.positions = tuple(out[d] for d in self.out[2:])
        self.strides, self.padding = params["window_strides"], params["padding"]
        self.image_dilation, self.kernel_dilation = params["lhs_dilation"], params["rhs_dilation"]


def sizes(op: Any, used: int, avals: Any) -> tuple[int, int, int, int]:
    """``(groups, positions, inputs, outputs)``: how the product is batched, summed and shaped."""
    win = _Window(op, used, avals)
    positions = win.batch * math.prod(win.positions)
    return win.groups, positions, math.prod(win.kernel) * win.channels, win.features


def factors(
    op: Any, used: int, avals: Any, residual: tuple[jax.Array, ...], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The patches under the kernel and the gradient above them, see ``dot_general.factors``."""
    win = _Window(op, used, avals)
    groups, positions, inputs, outputs = sizes(op, used, avals)
    (image,) = residual
    n, p = image.shape[:2]
    image = image.transpose((0, 1, *(d + 2 for d in (win.lhs[0], *win.lhs[2:], win.lhs[1]))))
    rows = _patches(image.reshape((n * p * win.batch, *image.shape[3:])), win)
    grad = cotangent.transpose((0, 1, *(d + 2 for d in (win.out[0], *win.out[2:], win.out[1]))))
    if groups == 1:
        left = rows.reshape((n, 1, p * positions, inputs))
        return left, grad.reshape((n, 1, p * positions, outputs))
    taps = math.prod(win.kernel)
    rows = rows.reshape((n, p * positions, taps, groups, win.channels))
    left = rows.transpose((0, 3, 1, 2, 4)).reshape((n, groups, p * positions, inputs))
    grad = grad.reshape((n, p * positions, groups, outputs))
    return left, grad.transpose((0, 2, 1, 3))


def arrange(op: Any, used: int, avals: Any, stack: jax.Array) -> jax.Array:
    """``(..., groups, inputs, outputs)`` as ``(..., *kernel.shape)``."""
    win = _Window(op, used, avals)
    lead = stack.shape[:-3]
    k, rank = len(lead), len(win.kernel)
    parts = stack.reshape((*lead, win.groups, *win.kernel, win.channels, win.features))
    # (groups, *taps, channels, features) to (*taps, channels, groups, features).
    order = (*range(k), *range(k + 1, k + rank + 2), k, k + rank + 2)
    merged = parts.transpose(order).reshape((*lead, *win.kernel, win.channels, -1))
    # What each of (*taps, channels, features) is called in the kernel's own order.
    names = (*win.rhs[2:], win.rhs[1], win.rhs[0])
    return merged.transpose((*range(k), *(k + int(d) for d in np.argsort(names))))


def _patches(images: jax.Array, win: _Window) -> jax.Array:
    """``(N, *spatial, C)`` to ``(N, *positions, taps * C)``, by strided slices."""
    edges = [
        (low, high, dilation - 1)
        for (low, high), dilation in zip(win.padding, win.image_dilation, strict=True)
    ]
    padding = [(0, 0, 0), *edges, (0, 0, 0)]
    padded = jax.lax.pad(images, jnp.zeros((), images.dtype), padding)
    slices = []
    for tap in itertools.product(*map(range, win.kernel)):
        start = [t * d for t, d in zip(tap, win.kernel_dilation, strict=True)]
        spans = zip(start, win.positions, win.strides, strict=True)
        limit = [begin + (count - 1) * stride + 1 for begin, count, stride in spans]
        slices.append(
            jax.lax.slice(
                padded,
                (0, *start, 0),
                (padded.shape[0], *limit, padded.shape[-1]),
                (1, *win.strides, 1),
            )
        )
    return jnp.concatenate(slices, axis=-1)
