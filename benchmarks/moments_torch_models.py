"""The architectures of the moments benchmark in PyTorch.

Submodules and parameters have the names they have in Flax, so that weights can be carried over.
"""

from collections import OrderedDict

import torch
from torch import nn

NUM_CLASSES = 10
_EPSILON = 1e-6  # what Flax's normalisations add to the variance


def mlp(inputs: int, widths: tuple[int, ...]) -> nn.Module:
    """A multilayer perceptron; a sequence, which is what BackPACK can extend."""
    layers = OrderedDict(flatten=nn.Flatten())
    for layer, width in enumerate(widths, start=1):
        layers[f"dense_{layer}"] = nn.Linear(inputs, width)
        layers[f"relu_{layer}"] = nn.ReLU()
        inputs = width
    layers["head"] = nn.Linear(inputs, NUM_CLASSES)
    return nn.Sequential(layers)


def cnn(widths: tuple[int, ...], hidden: int, side: int) -> nn.Module:
    """Three convolutions and two dense layers; a sequence, which is what BackPACK can extend."""
    layers, channels = OrderedDict(), 1
    for layer, width in enumerate(widths, start=1):
        stride = 1 if layer == 1 else 2
        layers[f"conv_{layer}"] = nn.Conv2d(channels, width, 3, stride, padding=1)
        layers[f"relu_{layer}"] = nn.ReLU()
        channels, side = width, -(-side // stride)
    layers["flatten"] = nn.Flatten()
    layers["hidden"] = nn.Linear(channels * side * side, hidden)
    layers["relu_hidden"] = nn.ReLU()
    layers["head"] = nn.Linear(hidden, NUM_CLASSES)
    return nn.Sequential(layers)


def _conv(channels: int, features: int, size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, features, size, stride, padding=size // 2, bias=False)


def _group_norm(features: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, features // 16), features, _EPSILON)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, channels: int, features: int, stride: int):
        super().__init__()
        self.conv_1 = _conv(channels, features, 3, stride)
        self.norm_1 = _group_norm(features)
        self.conv_2 = _conv(features, features, 3, 1)
        self.norm_2 = _group_norm(features)
        self.projects = stride > 1 or channels != features
        if self.projects:
            self.conv_shortcut = _conv(channels, features, 1, stride)
            self.norm_shortcut = _group_norm(features)

    def forward(self, inputs):
        """The block's feature map."""
        x = torch.relu(self.norm_1(self.conv_1(inputs)))
        x = self.norm_2(self.conv_2(x))
        shortcut = self.norm_shortcut(self.conv_shortcut(inputs)) if self.projects else inputs
        return torch.relu(x + shortcut)


class ResNet18(nn.Module):
    """ResNet-18 with group normalisation and the stem for small images."""

    def __init__(self, width: int):
        super().__init__()
        self.conv_stem = _conv(3, width, 3, 1)
        self.norm_stem = _group_norm(width)
        self.blocks, channels = [], width
        for stage in range(1, 5):
            for block in (1, 2):
                features, stride = width * 2 ** (stage - 1), 2 if stage > 1 and block == 1 else 1
                self.blocks.append(f"block_{stage}_{block}")
                self.add_module(self.blocks[-1], BasicBlock(channels, features, stride))
                channels = features
        self.head = nn.Linear(channels, NUM_CLASSES)

    def forward(self, x):
        """Logits of a batch of images."""
        x = torch.relu(self.norm_stem(self.conv_stem(x)))
        for name in self.blocks:
            x = getattr(self, name)(x)
        return self.head(x.mean(dim=(2, 3)))


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        """A mixture of every position's values."""
        batch, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5
        if self.causal:
            future = torch.ones(length, length, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(future, -1e9)
        mixed = scores.softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP, each with its residual."""

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.norm_1 = nn.LayerNorm(width, _EPSILON)
        self.attention = Attention(width, heads, causal)
        self.norm_2 = nn.LayerNorm(width, _EPSILON)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x):
        """The block's tokens."""
        x = x + self.attention(self.norm_1(x))
        h = nn.functional.gelu(self.expand(self.norm_2(x)), approximate="tanh")
        return x + self.contract(h)


class ViT(nn.Module):
    """A vision transformer with a class token and learned positions."""

    def __init__(self, depth: int, width: int, heads: int, tokens: int):
        super().__init__()
        self.embed = nn.Conv2d(3, width, 4, 4)
        self.class_token = nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.depth = depth
        for layer in range(1, depth + 1):
            self.add_module(f"block_{layer}", TransformerBlock(width, heads, causal=False))
        self.norm = nn.LayerNorm(width, _EPSILON)
        self.head = nn.Linear(width, NUM_CLASSES)

    def forward(self, images):
        """Logits of a batch of images."""
        x = self.embed(images).flatten(2).transpose(1, 2)
        token = self.class_token.expand(len(x), 1, -1)
        x = torch.cat([token, x], dim=1) + self.positions
        for layer in range(1, self.depth + 1):
            x = getattr(self, f"block_{layer}")(x)
        return self.head(self.norm(x)[:, 0])


class GPT(nn.Module):
    """A causal language model whose embedding is also its output layer."""

    def __init__(self, depth: int, width: int, heads: int, tokens: int, vocabulary: int):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.depth = depth
        for layer in range(1, depth + 1):
            self.add_module(f"block_{layer}", TransformerBlock(width, heads, causal=True))
        self.norm = nn.LayerNorm(width, _EPSILON)

    def forward(self, tokens):
        """Logits of the next token at every position."""
        x = self.embed(tokens) + self.positions
        for layer in range(1, self.depth + 1):
            x = getattr(self, f"block_{layer}")(x)
        return self.norm(x) @ self.embed.weight.T


MAKERS = {"mlp": mlp, "cnn": cnn, "resnet18": ResNet18, "vit": ViT, "gpt": GPT}


def build(name: str, sizes: dict) -> nn.Module:
    """The architecture of that name, with the sizes it has in Flax."""
    torch.manual_seed(0)
    return MAKERS[name](**sizes)
