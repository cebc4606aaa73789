"""The architectures of the moments benchmark, in Flax, as a user would write them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from feasible_jax.models.mlp import MLP
from feasible_jax.models.resnet import ResNet18

NUM_CLASSES = 10


class CNN(nn.Module):
    """Three 3x3 convolutions, a hidden dense layer on the flattened map, and logits."""

    widths: tuple[int, ...]
    hidden: int

    @nn.compact
    def __call__(self, x):
        """Logits of a batch of images."""
        for layer, width in enumerate(self.widths, start=1):
            stride = 1 if layer == 1 else 2
            x = nn.Conv(width, (3, 3), stride, padding=1, name=f"conv_{layer}")(x)
            x = nn.relu(x)
        x = x.reshape(len(x), -1)
        x = nn.relu(nn.Dense(self.hidden, name="hidden")(x))
        return nn.Dense(NUM_CLASSES, name="head")(x)


class Attention(nn.Module):
    """Multi-head self-attention."""

    heads: int
    causal: bool

    @nn.compact
    def __call__(self, x):
        """A mixture of every position's values."""
        batch, length, width = x.shape
        qkv = nn.Dense(3 * width, name="qkv")(x)
        q, k, v = jnp.moveaxis(qkv.reshape(batch, length, 3, self.heads, -1), 2, 0)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(width // self.heads)
        if self.causal:
            scores = jnp.where(np.tri(length, dtype=bool), scores, -1e9)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(scores), v)
        return nn.Dense(width, name="out")(mixed.reshape(batch, length, width))


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP, each with its residual."""

    heads: int
    causal: bool

    @nn.compact
    def __call__(self, x):
        """The block's tokens."""
        width = x.shape[-1]
        x = x + Attention(self.heads, self.causal, name="attention")(nn.LayerNorm(name="norm_1")(x))
        h = nn.Dense(4 * width, name="expand")(nn.LayerNorm(name="norm_2")(x))
        return x + nn.Dense(width, name="contract")(nn.gelu(h))


class ViT(nn.Module):
    """A vision transformer with a class token and learned positions."""

    depth: int
    width: int
    heads: int
    patch: int = 4

    @nn.compact
    def __call__(self, images):
        """Logits of a batch of images."""
        patches = (self.patch, self.patch)
        x = nn.Conv(self.width, patches, patches, padding="VALID", name="embed")(images)
        x = x.reshape(len(x), -1, self.width)
        token = self.param("class_token", nn.initializers.normal(0.02), (self.width,))
        x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, self.width)), x], axis=1)
        x = x + self.param("positions", nn.initializers.normal(0.02), x.shape[1:])
        for layer in range(1, self.depth + 1):
            x = TransformerBlock(self.heads, causal=False, name=f"block_{layer}")(x)
        return nn.Dense(NUM_CLASSES, name="head")(nn.LayerNorm(name="norm")(x)[:, 0])


class GPT(nn.Module):
    """A causal language model whose embedding is also its output layer."""

    depth: int
    width: int
    heads: int
    vocabulary: int

    @nn.compact
    def __call__(self, tokens):
        """Logits of the next token at every position."""
        embed = nn.Embed(self.vocabulary, self.width, name="embed")
        shape = (tokens.shape[1], self.width)
        x = embed(tokens) + self.param("positions", nn.initializers.normal(0.02), shape)
        for layer in range(1, self.depth + 1):
            x = TransformerBlock(self.heads, causal=True, name=f"block_{layer}")(x)
        return embed.attend(nn.LayerNorm(name="norm")(x))


@dataclass(frozen=True, eq=False)  # hashed by identity, so that `loss_fn` has a hash
class Architecture:
    """A model with its loss on ONE example and random batches to take it on.

    Attributes:
      name: the key on the command line.
      title: the name in tables.
      module: the Flax module, on a batch.
      sizes: what both frameworks build it from.
      input_shape: of one example's inputs.
      vocabulary: of the tokens; 0 for images.
    """

    name: str
    title: str
    module: nn.Module
    sizes: dict[str, Any]
    input_shape: tuple[int, ...]
    vocabulary: int = 0

    def loss_fn(self, params: Any, example: tuple[jax.Array, jax.Array]) -> jax.Array:
        """The cross-entropy of one example, its mean over the tokens of a text."""
        inputs, labels = example
        logits = self.module.apply({"params": params}, inputs[None])[0]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def init(self) -> Any:
        """Random parameters, always the same."""
        module, inputs = self.module, self.batch(1)[0]
        return jax.jit(lambda key: module.init(key, inputs)["params"])(jax.random.key(0))

    def parameters(self) -> int:
        """How many numbers the parameters are."""
        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(self.init)))

    def batch(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Random inputs and labels, always the same."""
        rng = np.random.default_rng(0)
        if self.vocabulary:
            text = rng.integers(0, self.vocabulary, (size, self.input_shape[0] + 1), np.int32)
            return text[:, :-1], text[:, 1:]
        images = rng.standard_normal((size, *self.input_shape), np.float32)
        return images, rng.integers(0, NUM_CLASSES, size, np.int32)


def _mlp(widths: tuple[int, ...], side: int) -> Architecture:
    title = "MLP " + "-".join(map(str, (side * side, *widths, NUM_CLASSES)))
    sizes = {"inputs": side * side, "widths": widths}
    return Architecture("mlp", title, MLP(NUM_CLASSES, widths), sizes, (side, side, 1))


def _cnn(widths: tuple[int, ...], hidden: int, side: int) -> Architecture:
    title = f"CNN, 3x3 convolutions {'-'.join(map(str, widths))}, on {side}x{side}"
    sizes = {"widths": widths, "hidden": hidden, "side": side}
    return Architecture("cnn", title, CNN(widths, hidden), sizes, (side, side, 1))


def _resnet(width: int, side: int) -> Architecture:
    title = f"ResNet-18, GroupNorm, width {width}, on {side}x{side}"
    module = ResNet18(NUM_CLASSES, width)
    return Architecture("resnet18", title, module, {"width": width}, (side, side, 3))


def _vit(depth: int, width: int, heads: int, side: int) -> Architecture:
    title = f"ViT, {depth} layers of width {width}, on {side}x{side} in patches of 4"
    sizes = {"depth": depth, "width": width, "heads": heads, "tokens": (side // 4) ** 2 + 1}
    return Architecture("vit", title, ViT(depth, width, heads), sizes, (side, side, 3))


def _gpt(depth: int, width: int, heads: int, vocabulary: int, tokens: int) -> Architecture:
    title = f"GPT, {depth} layers of width {width}, tied embeddings, {tokens} tokens"
    sizes = {"depth": depth, "width": width, "heads": heads, "tokens": tokens}
    sizes["vocabulary"] = vocabulary
    module = GPT(depth, width, heads, vocabulary)
    return Architecture("gpt", title, module, sizes, (tokens,), vocabulary)


_MAKERS: dict[str, tuple[Callable[..., Architecture], tuple, tuple]] = {
    "mlp": (_mlp, ((512, 512), 28), ((8,), 4)),
    "cnn": (_cnn, ((32, 64, 128), 128, 28), ((2, 3, 4), 5, 8)),
    "resnet18": (_resnet, (64, 32), (2, 8)),
    "vit": (_vit, (12, 192, 3, 32), (2, 6, 2, 8)),
    "gpt": (_gpt, (4, 256, 4, 2048, 64), (2, 8, 2, 16, 6)),
}
MODELS = tuple(_MAKERS)


@cache
def build(name: str, smoke: bool = False) -> Architecture:
    """An architecture by name; ``smoke`` makes it tiny."""
    maker, full, tiny = _MAKERS[name]
    return maker(*(tiny if smoke else full))
