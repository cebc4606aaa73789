"""Train a classifier: AdamW with a cosine decay, one compiled function an epoch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from feasible_jax.models.classification import cross_entropy
from feasible_jax.models.model import Model
from feasible_jax.unlearning.task import Examples


def train(
    model: Model,
    examples: Examples,
    *,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-4,
    seed: int = 0,
    on_epoch: Callable[[int, float], None] | None = None,
) -> Any:
    """Parameters of a model trained from scratch on cross-entropy.

    Every epoch reshuffles. Where the batch size does not divide the number of examples, the last
    batch is filled up from the front of the same shuffle, so every example is seen in every epoch
    and a few, different ones each time, are seen twice.

    Args:
      model: what to train.
      examples: inputs ``(N, H, W, C)`` and labels ``(N,)``.
      epochs: passes over the examples, at least 1.
      batch_size: examples a step; with fewer examples than that, all of them.
      learning_rate: of the first step; decays to 0 along half a cosine.
      weight_decay: decoupled, times the learning rate (Loshchilov and Hutter, 2019).
      seed: decides the initial parameters and every shuffle, and nothing else does.
      on_epoch: called after every epoch with its number, from 1, and its mean loss.

    Returns:
      The parameters after the last epoch.

    Raises:
      ValueError: if there are no examples, lengths differ, a label is not a class of the model, or
        epochs or batch_size is below 1.
      FloatingPointError: names the first epoch whose loss or parameters are not finite.

    >>> from feasible_jax.models.model import build_model
    >>> inputs = np.eye(4, dtype=np.float32).reshape(4, 2, 2, 1)
    >>> examples = Examples(inputs, np.array([0, 1, 2, 3]))
    >>> model = build_model("mlp", (2, 2, 1), 4, hidden_sizes=())
    >>> params = train(model, examples, epochs=100, learning_rate=0.1)
    >>> print(model.apply(params, inputs).argmax(-1))
    [0 1 2 3]
    """
    _check(model, examples, epochs, batch_size)
    init_key, shuffle_key = jax.random.split(jax.random.key(seed))
    data = Examples(jnp.asarray(examples.inputs), jnp.asarray(examples.labels))
    params = model.init(init_key)
    opt_state = _optimizer(learning_rate, weight_decay).init(params)
    batch_size = min(batch_size, len(data.labels))
    for epoch in range(1, epochs + 1):
        params, opt_state, loss, size = _train_epoch(
            model, batch_size, params, opt_state, data, jax.random.fold_in(shuffle_key, epoch),
            (epoch - 1) / epochs, 1 / epochs, learning_rate, weight_decay,
        )  # fmt: skip
        if not np.isfinite(loss) or not np.isfinite(size):
            raise FloatingPointError(
                f"training {model.name} left the finite numbers in epoch {epoch} of {epochs} (mean "
                f"loss {float(loss)}): lower the learning rate of {learning_rate}, or look for "
                "non-finite inputs."
            )
        if on_epoch is not None:
            on_epoch(epoch, float(loss))
    return params


def _optimizer(learning_rate: Any, weight_decay: Any) -> optax.GradientTransformation:
    return optax.adamw(learning_rate, weight_decay=weight_decay)


@partial(jax.jit, static_argnums=(0, 1))
def _train_epoch(
    model, batch_size, params, opt_state, data, key, start, span, learning_rate, weight_decay
):
    """One pass; ``start`` and ``span`` are this epoch's place in the whole run, in ``[0, 1]``."""
    loss_fn = jax.vmap(cross_entropy(model), in_axes=(None, 0))
    steps = -(-len(data.labels) // batch_size)
    order = jax.random.permutation(key, len(data.labels))
    batches = jnp.resize(order, (steps, batch_size))

    def step(carry, batch_and_progress):
        params, opt_state = carry
        batch, progress = batch_and_progress
        mean_loss, grads = jax.value_and_grad(
            lambda p: loss_fn(p, jax.tree.map(lambda x: x[batch], data)).mean()
        )(params)
        rate = learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * progress))
        updates, opt_state = _optimizer(rate, weight_decay).update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), mean_loss

    progress = start + span * jnp.arange(steps) / steps
    (params, opt_state), losses = jax.lax.scan(step, (params, opt_state), (batches, progress))
    return params, opt_state, losses.mean(), optax.tree.norm(params)


def _check(model: Model, examples: Examples, epochs: int, batch_size: int) -> None:
    labels = np.asarray(examples.labels)
    if len(labels) == 0 or np.shape(examples.inputs)[:1] != labels.shape:
        raise ValueError(
            f"inputs have shape {np.shape(examples.inputs)} and labels {labels.shape}: give at "
            "least one example, and one label an example."
        )
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs is {epochs} and batch_size {batch_size}: give at least 1 each.")
    one = jax.tree.map(lambda x: x[:1], examples.inputs)
    logits = jax.eval_shape(lambda: model.apply(model.init(jax.random.key(0)), one))
    if labels.min() < 0 or labels.max() >= logits.shape[-1]:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, outside [0, {logits.shape[-1]}): "
            f"renumber them, or build {model.name} with num_classes={labels.max() + 1}."
        )
