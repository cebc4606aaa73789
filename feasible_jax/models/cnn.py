"""A small convolutional network, strided early so that per-example gradients stay cheap."""

from collections.abc import Sequence

import flax.linen as nn
import jax

# A coarser map has too few positions left to average over.
_SMALLEST_MAP = 4


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
            conv = nn.Conv(width, (3, 3), strides=stride, name=f"conv_{layer}")
            x = nn.relu(conv(x))
        return nn.Dense(self.num_classes, name="head")(x.mean(axis=(1, 2)))
