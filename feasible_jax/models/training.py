"""Train a classifier: AdamW with a cosine decay, one compiled function a step."""

from collections.abc import Callable
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
    learning_rate: float = 1e-2,
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
      seed: not negative; decides the initial parameters and every shuffle.
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
    check_training(model, examples, epochs, batch_size)
    rng = np.random.default_rng(seed)
    data = Examples(jnp.asarray(examples.inputs), jnp.asarray(examples.labels))
    count = len(data.labels)
    batch_size = min(batch_size, count)
    steps = -(-count // batch_size)
    rates = decaying_rates(learning_rate, epochs, steps)
    params = model.init(jax.random.key(seed))
    opt_state = adamw(learning_rate, weight_decay).init(params)
    for epoch, rates_of_epoch in enumerate(rates, start=1):
        losses = []
        batches = shuffled_batches(rng, count, steps, batch_size)
        for batch, rate in zip(batches, rates_of_epoch, strict=True):
            params, opt_state, loss = _train_step(
                model, params, opt_state, data, batch, rate, weight_decay
            )
            losses.append(loss)
        mean_loss = _finite_mean(losses, params, f"{model.name} in epoch {epoch} of {epochs}")
        if on_epoch is not None:
            on_epoch(epoch, mean_loss)
    return params


def decaying_rates(learning_rate: float, epochs: int, steps: int) -> np.ndarray:
    """The learning rate of each step, ``(epochs, steps)``, along half a cosine to 0.

    >>> decaying_rates(0.5, epochs=2, steps=1).round(3).tolist()
    [[0.5], [0.25]]
    """
    progress = np.linspace(0, 1, epochs * steps, endpoint=False, dtype=np.float32)
    return (learning_rate * (1 + np.cos(np.pi * progress)) / 2).reshape(epochs, steps)


def shuffled_batches(
    rng: np.random.Generator, count: int, steps: int, batch_size: int
) -> np.ndarray:
    """An epoch of rows, ``(steps, batch_size)``, filled up from the front of the same shuffle.

    >>> rows = shuffled_batches(np.random.default_rng(0), count=4, steps=2, batch_size=3)
    >>> rows.shape, sorted(np.bincount(rows.ravel()).tolist())
    ((2, 3), [1, 1, 2, 2])
    """
    return np.resize(rng.permutation(count), (steps, batch_size))


def adamw(learning_rate: Any, weight_decay: Any) -> optax.GradientTransformation:
    """The optimizer of every training here; its state does not depend on the rates."""
    return optax.adamw(learning_rate, weight_decay=weight_decay)


def training_step(model, params, opt_state, data, batch, learning_rate, weight_decay):
    """One step on the rows ``batch`` of ``data``: parameters, optimizer state and mean loss."""
    example_loss = cross_entropy(model)

    def batch_loss(params):
        examples = jax.tree.map(lambda x: x[batch], data)
        return jax.vmap(example_loss, in_axes=(None, 0))(params, examples).mean()

    loss, grads = jax.value_and_grad(batch_loss)(params)
    # optax raises its float decay to an integer power, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"):
        optimizer = adamw(learning_rate, weight_decay)
        updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


# One call a step, not lax.scan over them: inside a loop XLA runs the gradients of convolutions
# about ten times slower on CPU (https://github.com/jax-ml/jax/issues/12868).
_train_step = jax.jit(training_step, static_argnums=0, donate_argnums=(1, 2))


def _finite_mean(losses: list[Any], params: Any, where: str) -> float:
    mean_loss = float(np.mean(losses))
    # The last step's harm shows in the parameters only.
    if not np.isfinite(mean_loss) or not np.isfinite(optax.tree.norm(params)):
        raise FloatingPointError(
            f"training {where} left the finite numbers (mean loss {mean_loss}): "
            "lower the learning rate, or look for non-finite inputs."
        )
    return mean_loss


def check_training(model: Model, examples: Examples, epochs: int, batch_size: int) -> None:
    """Raise a ``ValueError`` that says why a model cannot be trained so, before it is."""
    labels = np.asarray(examples.labels)
    if len(labels) == 0 or np.shape(examples.inputs)[:1] != labels.shape:
        raise ValueError(
            f"inputs have shape {np.shape(examples.inputs)} and labels {labels.shape}: give at "
            "least one example, and one label an example."
        )
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs is {epochs} and batch_size {batch_size}: give at least 1 each.")
    first = examples.inputs[:1]
    logits = jax.eval_shape(lambda: model.apply(model.init(jax.random.key(0)), first))
    if labels.min() < 0 or labels.max() >= logits.shape[-1]:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, outside [0, {logits.shape[-1]}): "
            f"renumber them, or build {model.name} with num_classes={labels.max() + 1}."
        )
