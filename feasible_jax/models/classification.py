"""The loss of a classifier on one example."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import optax

from feasible_jax.models.model import Model
from feasible_jax.unlearning.task import Examples, LossFn


@cache
def cross_entropy(model: Model) -> LossFn:
    """The cross-entropy of a model on ONE example, in nats; the same model gives the same function.

    ``-log softmax(logits)[label]``, computed in float32 whatever the dtype of the parameters.

    Args:
      model: maps an image to logits.

    Returns:
      ``loss_fn(params, example) -> scalar``, ``example`` an ``Examples`` with inputs ``(H, W, C)``
      and a scalar label. Batch it with ``jax.vmap(loss_fn, in_axes=(None, 0))``.

    >>> from feasible_jax.models.model import build_model
    >>> model = build_model("mlp", (8, 8, 1), 10)
    >>> params = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0)))
    >>> loss = cross_entropy(model)(params, Examples(jnp.ones((8, 8, 1)), 3))
    >>> print(f"{loss:.4f}")  # log(10)
    2.3026
    """

    def loss_fn(params: Any, example: Examples) -> jax.Array:
        logits = model.apply(params, example.inputs).astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(example.labels))

    return loss_fn
