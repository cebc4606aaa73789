"""A model as two pure functions, and the built-in ones by name."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from feasible_jax.models.cnn import CNN
from feasible_jax.models.mlp import MLP
from feasible_jax.models.resnet import ResNet18

_MODULES: dict[str, type[nn.Module]] = {"mlp": MLP, "cnn": CNN, "resnet18": ResNet18}
_OPTIONS = {"mlp": ("hidden_sizes",), "cnn": ("widths",), "resnet18": ("width",)}

MODELS = tuple(_MODULES)


class Model(NamedTuple):
    """An image classifier.

    Attributes:
      name: a short name for tables.
      init: ``(key) -> params``, a nested dict of float32 arrays.
      apply: ``(params, inputs) -> logits``; inputs ``(B, H, W, C)`` give ``(B, num_classes)``, a
        single example ``(H, W, C)`` gives ``(num_classes,)``.

    >>> model = build_model("mlp", (8, 8, 1), 10)
    >>> params = model.init(jax.random.key(0))
    >>> model.apply(params, jnp.zeros((5, 8, 8, 1))).shape
    (5, 10)
    >>> model.apply(params, jnp.zeros((8, 8, 1))).shape
    (10,)
    """

    name: str
    init: Callable[[jax.Array], Any]
    apply: Callable[[Any, Any], jax.Array]


def build_model(name: str, image_shape: Sequence[int], num_classes: int, **options: Any) -> Model:
    """A built-in model by name; the same arguments give the same object, so jit caches hit.

    Args:
      name: one of ``MODELS``.
      image_shape: ``(H, W, C)`` of one example.
      num_classes: the number of logits.
      **options: of the network itself: ``hidden_sizes`` of the mlp, ``widths`` of the cnn,
        ``width`` of resnet18.

    Returns:
      The ``Model``; nothing is computed before its ``init`` is called.

    Raises:
      ValueError: if there is no model or option of that name, or a size is not positive.

    >>> build_model("cnn", (28, 28, 1), 10) is build_model("cnn", [28, 28, 1], 10)
    True
    >>> build_model("vgg", (28, 28, 1), 10)
    Traceback (most recent call last):
    ...
    ValueError: there is no model named 'vgg': choose one of mlp, cnn, resnet18.
    """
    if name not in _MODULES:
        raise ValueError(f"there is no model named {name!r}: choose one of {', '.join(MODELS)}.")
    shape = tuple(int(size) for size in image_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(
            f"image_shape is {shape}: give (height, width, channels), each at least 1; "
            "a grey image has one channel."
        )
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}: give at least 1.")
    for option in options:
        if option not in _OPTIONS[name]:
            raise ValueError(
                f"{name} has no option {option!r}: it has {', '.join(_OPTIONS[name])}."
            )
    frozen = tuple(
        (key, tuple(value) if isinstance(value, Sequence) else value)
        for key, value in sorted(options.items())
    )
    return _build(name, shape, int(num_classes), frozen)


@cache
def _build(name: str, shape: tuple[int, ...], num_classes: int, options: tuple) -> Model:
    network: Any = _MODULES[name](num_classes=num_classes, **dict(options))

    @jax.jit
    def init(key: jax.Array) -> Any:
        return network.init(key, jnp.zeros((1, *shape)))["params"]

    def apply(params: Any, inputs: Any) -> jax.Array:
        if jnp.shape(inputs)[-3:] != shape or jnp.ndim(inputs) not in (3, 4):
            raise ValueError(
                f"inputs have shape {jnp.shape(inputs)}, but this {name} takes images of shape "
                f"{shape}, one or a batch of them: reshape them, or build_model for their shape."
            )
        single = jnp.ndim(inputs) == 3
        logits = network.apply({"params": params}, jnp.asarray(inputs)[None] if single else inputs)
        return logits[0] if single else logits

    return Model(name, init, apply)
