"""A multilayer perceptron on flattened images."""

from collections.abc import Sequence

import flax.linen as nn
import jax


class MLP(nn.Module):
    """Dense layers with ReLU between them: ``(B, H, W, C)`` images to ``(B, num_classes)`` logits.

    Attributes:
      num_classes: the number of logits.
      hidden_sizes: the width of each hidden layer, first to last; empty for a linear classifier.

    >>> import jax, jax.numpy as jnp
    >>> model = MLP(num_classes=10)
    >>> params = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))["params"]
    >>> sorted(params)
    ['dense_1', 'dense_2', 'head']
    >>> model.apply({"params": params}, jnp.zeros((3, 8, 8, 1))).shape
    (3, 10)
    """

    num_classes: int
    hidden_sizes: Sequence[int] = (128, 64)

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Logits ``(B, num_classes)`` of a batch ``(B, H, W, C)``."""
        x = inputs.reshape(len(inputs), -1)
        for layer, size in enumerate(self.hidden_sizes, start=1):
            x = nn.relu(nn.Dense(size, name=f"dense_{layer}")(x))
        return nn.Dense(self.num_classes, name="head")(x)
