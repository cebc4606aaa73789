"""Convolutions of any rank, stride, dilation, padding and number of feature groups."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

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


class Spec(NamedTuple):
    """Sizes of a convolution, spatial dimensions in the order of the kernel's.

    Attributes:
      image: dimensions of batch, channels and space in the image; likewise ``kernel_dims``, of
        features and channels a group and space, and ``out``.
      taps: the spatial shape of the kernel.
      groups: number of feature groups.
      channels: input channels a group.
      features: output channels a group.
      batch: images an example.
      positions: the spatial shape of the result.
      strides: between positions.
      padding: ``(low, high)`` before and after the image.
      image_dilation: of the image, ``kernel_dilation`` of the kernel.
    """

    image: tuple[int, ...]
    kernel_dims: tuple[int, ...]
    out: tuple[int, ...]
    taps: tuple[int, ...]
    groups: int
    channels: int
    features: int
    batch: int
    positions: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    image_dilation: tuple[int, ...]
    kernel_dilation: tuple[int, ...]


def make_spec(op: Any, used: int, avals: Any) -> Spec:
    """What the formulas need to know about an operation."""
    params, dims = op.params, op.params["dimension_numbers"]
    kernel, out = avals[used].shape, avals[op.outputs[0]].shape
    groups = params["feature_group_count"]
    return Spec(
        tuple(dims.lhs_spec), tuple(dims.rhs_spec), tuple(dims.out_spec),
        taps=tuple(kernel[d] for d in dims.rhs_spec[2:]),
        groups=groups,
        channels=kernel[dims.rhs_spec[1]],
        features=kernel[dims.rhs_spec[0]] // groups,
        batch=out[dims.out_spec[0]],
        positions=tuple(out[d] for d in dims.out_spec[2:]),
        strides=tuple(params["window_strides"]),
        padding=tuple(map(tuple, params["padding"])),
        image_dilation=tuple(params["lhs_dilation"]),
        kernel_dilation=tuple(params["rhs_dilation"]),
    )  # fmt: skip


def sizes(spec: Spec) -> tuple[int, int, int, int]:
    """``(groups, positions, inputs, outputs)``: how the product is batched, summed and shaped."""
    positions = spec.batch * math.prod(spec.positions)
    return spec.groups, positions, math.prod(spec.taps) * spec.channels, spec.features


def factors(
    spec: Spec, residual: tuple[jax.Array, ...], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The patches under the kernel and the gradient above them, see ``dot_general.factors``."""
    groups, positions, inputs, outputs = sizes(spec)
    (image,) = residual
    n, p = image.shape[:2]
    image = image.transpose((0, 1, *(d + 2 for d in _channels_last(spec.image))))
    rows = _patches(image.reshape((n * p * spec.batch, *image.shape[3:])), spec)
    grad = cotangent.transpose((0, 1, *(d + 2 for d in _channels_last(spec.out))))
    if groups == 1:
        left = rows.reshape((n, 1, p * positions, inputs))
        return left, grad.reshape((n, 1, p * positions, outputs))
    rows = rows.reshape((n, p * positions, math.prod(spec.taps), groups, spec.channels))
    left = rows.transpose((0, 3, 1, 2, 4)).reshape((n, groups, p * positions, inputs))
    grad = grad.reshape((n, p * positions, groups, outputs))
    return left, grad.transpose((0, 2, 1, 3))


def arrange(spec: Spec, stack: jax.Array) -> jax.Array:
    """``(..., groups, inputs, outputs)`` as ``(..., *kernel.shape)``."""
    lead = stack.shape[:-3]
    k, rank = len(lead), len(spec.taps)
    parts = stack.reshape((*lead, spec.groups, *spec.taps[::-1], spec.channels, spec.features))
    # (groups, *reversed taps, channels, features) to (*taps, channels, groups, features).
    order = (*range(k), *range(k + rank, k, -1), k + rank + 1, k, k + rank + 2)
    merged = parts.transpose(order).reshape((*lead, *spec.taps, spec.channels, -1))
    # What each of (*taps, channels, features) is called in the kernel's own order.
    names = (*spec.kernel_dims[2:], spec.kernel_dims[1], spec.kernel_dims[0])
    return merged.transpose((*range(k), *(k + names.index(d) for d in range(rank + 2))))


def _channels_last(dims: tuple[int, ...]) -> tuple[int, ...]:
    return (dims[0], *dims[2:], dims[1])


def _patches(images: jax.Array, spec: Spec) -> jax.Array:
    """``(N, *spatial, C)`` to ``(N, *positions, taps * C)``, one spatial axis after the other.

    The last axis is ordered by the tap along the last spatial axis first.
    """
    edges = [
        (low, high, dilation - 1)
        for (low, high), dilation in zip(spec.padding, spec.image_dilation, strict=True)
    ]
    padding = [(0, 0, 0), *edges, (0, 0, 0)]
    images = jax.lax.pad(images, jnp.zeros((), images.dtype), padding)
    for d, (taps, count) in enumerate(zip(spec.taps, spec.positions, strict=True)):
        stride, span = spec.strides[d], (count - 1) * spec.strides[d] + 1
        starts = [tap * spec.kernel_dilation[d] for tap in range(taps)]
        shifted = [
            jax.lax.slice_in_dim(images, start, start + span, stride, axis=d + 1)
            for start in starts
        ]
        images = jnp.concatenate(shifted, axis=-1) if taps > 1 else shifted[0]
    return images
