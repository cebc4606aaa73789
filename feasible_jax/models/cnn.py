"""A small convolutional network, strided early so that per-example gradients stay cheap."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

# A coarser map has too few positions left to average over.
_SMALLEST_MAP = 4


def patches_3x3(images: jax.Array, stride: int) -> jax.Array:
    """The 3x3 neighbourhood of every position, zero outside the image ("SAME" padding).

    A dense layer on it is a convolution with the kernel reshaped to ``(9 * C, features)``. On CPU
    its per-example gradients are batched matrix products and a third faster than those of XLA's
    convolution, whose gradients are ten times slower still inside ``lax.scan``
    (https://github.com/jax-ml/jax/issues/12868).

    Args:
      images: ``(B, H, W, C)``.
      stride: between neighbouring positions.

    Returns:
      ``(B, ceil(H / stride), ceil(W / stride), 9 * C)``; row, column and channel, in this order,
      along the last axis.

    >>> import jax.numpy as jnp
    >>> patches = patches_3x3(jnp.arange(1.0, 10).reshape(1, 3, 3, 1), stride=1)
    >>> print(patches[0, 0, 0].reshape(3, 3))
    [[0. 0. 0.]
     [0. 1. 2.]
     [0. 4. 5.]]
    """
    (row_padding, rows), (column_padding, columns) = (
        _same_padding(size, stride) for size in images.shape[1:3]
    )
    padded = jnp.pad(images, ((0, 0), row_padding, column_padding, (0, 0)))
    shifted = [
        padded[:, i : i + rows : stride, j : j + columns : stride]
        for i in range(3)
        for j in range(3)
    ]
    return jnp.concatenate(shifted, axis=-1)


def _same_padding(size: int, stride: int) -> tuple[tuple[int, int], int]:
    """The padding before and after, and the span from the first position to past the last one."""
    span = (size - 1) // stride * stride + 1
    total = max(span + 2 - size, 0)
    return (total // 2, total - total // 2), span


class CNN(nn.Module):
    """3x3 convolutions with ReLU, a global average and a dense head.

    A convolution has stride 2 as long as the feature map stays at least 4 wide, so the same
    network serves images from 8x8 to 64x64, with the same parameters for all of them. There is no
    normalisation: every example's gradient depends on that example alone.

    Attributes:
      num_classes: the number of logits.
      widths: the output channels of each convolution, first to last.

    >>> import jax, jax.numpy as jnp
    >>> model = CNN(num_classes=10)
    >>> params = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))["params"]
    >>> sorted(params)
    ['conv_1', 'conv_2', 'conv_3', 'head']
    >>> model.apply({"params": params}, jnp.zeros((3, 28, 28, 1))).shape
    (3, 10)
    """

    num_classes: int
    widths: Sequence[int] = (16, 32, 64)

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Logits ``(B, num_classes)`` of a batch ``(B, H, W, C)``."""
        x = inputs
        for layer, width in enumerate(self.widths, start=1):
            stride = 2 if (min(x.shape[1:3]) + 1) // 2 >= _SMALLEST_MAP else 1
            x = nn.relu(nn.Dense(width, name=f"conv_{layer}")(patches_3x3(x, stride)))
        return nn.Dense(self.num_classes, name="head")(x.mean(axis=(1, 2)))
