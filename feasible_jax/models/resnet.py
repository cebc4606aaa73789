"""ResNet-18 for small images, with group instead of batch normalisation."""

import flax.linen as nn
import jax

_STAGES = (2, 2, 2, 2)
_CHANNELS_PER_GROUP = 16


def _group_norm(features: int, name: str) -> nn.GroupNorm:
    most = max(1, features // _CHANNELS_PER_GROUP)
    groups = next(g for g in range(most, 0, -1) if features % g == 0)
    return nn.GroupNorm(num_groups=groups, use_fast_variance=False, name=name)


def _conv(features: int, size: int, stride: int, name: str) -> nn.Conv:
    return nn.Conv(features, (size, size), strides=stride, use_bias=False, name=name)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut.

    ``(B, H, W, C)`` to ``(B, ceil(H / stride), ceil(W / stride), features)``.

    Attributes:
      features: the output channels.
      stride: of the first convolution and of the shortcut.

    >>> import jax, jax.numpy as jnp
    >>> block = BasicBlock(features=32, stride=2)
    >>> out, _ = block.init_with_output(jax.random.key(0), jnp.zeros((1, 8, 8, 16)))
    >>> out.shape
    (1, 4, 4, 32)
    """

    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """The block's feature map."""
        x = _conv(self.features, 3, self.stride, "conv_1")(inputs)
        x = nn.relu(_group_norm(self.features, "norm_1")(x))
        x = _conv(self.features, 3, 1, "conv_2")(x)
        x = _group_norm(self.features, "norm_2")(x)
        shortcut = inputs
        if inputs.shape != x.shape:
            shortcut = _conv(self.features, 1, self.stride, "conv_shortcut")(inputs)
            shortcut = _group_norm(self.features, "norm_shortcut")(shortcut)
        return nn.relu(x + shortcut)


class ResNet18(nn.Module):
    """ResNet-18 with the stem for small images: ``(B, H, W, C)`` to ``(B, num_classes)`` logits.

    He et al., *Deep Residual Learning for Image Recognition* (2016), with a 3x3 stem of stride 1
    and no pooling, and group normalisation (Wu and He, 2018; 16 channels a group) instead of batch
    normalisation, under which a single example would have no gradient of its own.

    Attributes:
      num_classes: the number of logits.
      width: the channels of the first stage; every later stage doubles them. 64 is ResNet-18
        proper (11 million parameters); 16 makes a network that trains on a laptop.

    >>> import jax, jax.numpy as jnp
    >>> model = ResNet18(num_classes=10, width=8)
    >>> shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    >>> sorted(shapes["params"])[:3]
    ['block_1_1', 'block_1_2', 'block_2_1']
    """

    num_classes: int
    width: int = 64

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Logits ``(B, num_classes)`` of a batch ``(B, H, W, C)``."""
        x = _conv(self.width, 3, 1, "conv_stem")(inputs)
        x = nn.relu(_group_norm(self.width, "norm_stem")(x))
        for stage, blocks in enumerate(_STAGES, start=1):
            for block in range(1, blocks + 1):
                features = self.width * 2 ** (stage - 1)
                stride = 2 if stage > 1 and block == 1 else 1
                x = BasicBlock(features, stride, name=f"block_{stage}_{block}")(x)
        return nn.Dense(self.num_classes, name="head")(x.mean(axis=(1, 2)))
