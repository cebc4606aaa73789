"""Train an ensemble of classifiers in one program: shadow models."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.models.model import Model
from feasible_jax.models.training import (
    adamw,
    check_training,
    decaying_rates,
    shuffled_batches,
    training_step,
)
from feasible_jax.unlearning.task import Examples


def train_ensemble(
    model: Model,
    examples: Examples,
    *,
    seeds: Sequence[int],
    membership: np.ndarray | None = None,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 1e-2,
    weight_decay: float = 1e-4,
    on_epoch: Callable[[int, float], None] | None = None,
) -> Any:
    """Parameters of M models trained from scratch, side by side in one compiled step.

    The step of ``train`` is mapped over the models by ``jax.vmap``, so that small models fill the
    machine together. Each model is the one that ``train`` makes with its seed on its own examples,
    up to rounding. Memory holds M models and the states of their optimizers: train in several calls
    what does not fit.

    Args:
      model: what to train.
      examples: inputs ``(N, H, W, C)`` and labels ``(N,)``.
      seeds: M of them, not negative; each decides a model's initial parameters and shuffles.
      membership: ``(M, N)`` booleans, which examples each model is trained on; all, if not given.
        Every model takes as many steps as the one with most examples, and a smaller set is gone
        through again from the front of its shuffle.
      epochs: passes over the examples, at least 1.
      batch_size: examples a step and model; with fewer examples than that, all of them.
      learning_rate: of the first step; decays to 0 along half a cosine.
      weight_decay: decoupled, times the learning rate.
      on_epoch: called after every epoch with its number, from 1, and the mean loss over models.

    Returns:
      A tree like ``model.init`` returns, every leaf with a leading axis of M models.

    Raises:
      ValueError: if there are no seeds, the membership does not fit or leaves a model without
        examples, and as ``train`` does.
      FloatingPointError: names the first epoch, and the seeds whose loss or parameters are not
        finite.

    >>> from feasible_jax.models.model import build_model
    >>> inputs = np.eye(4, dtype=np.float32).reshape(4, 2, 2, 1)
    >>> examples = Examples(inputs, np.array([0, 1, 2, 3]))
    >>> model = build_model("mlp", (2, 2, 1), 4, hidden_sizes=())
    >>> params = train_ensemble(model, examples, seeds=(0, 1, 2), epochs=100, learning_rate=0.1)
    >>> print(jax.vmap(model.apply, (0, None))(params, inputs).argmax(-1))
    [[0 1 2 3]
     [0 1 2 3]
     [0 1 2 3]]
    """
    check_training(model, examples, epochs, batch_size)
    data = Examples(jnp.asarray(examples.inputs), jnp.asarray(examples.labels))
    members = _members(len(data.labels), seeds, membership)
    most = max(map(len, members))
    batch_size = min(batch_size, most)
    steps = -(-most // batch_size)
    rates = decaying_rates(learning_rate, epochs, steps)
    params = jax.vmap(model.init)(jnp.stack([jax.random.key(int(seed)) for seed in seeds]))
    opt_state = jax.vmap(adamw(learning_rate, weight_decay).init)(params)
    shuffles = [np.random.default_rng(seed) for seed in seeds]
    for epoch, rates_of_epoch in enumerate(rates, start=1):
        losses = []
        # (steps, M, batch_size): the rows of every model's batch.
        batches = np.stack(
            [
                rows[shuffled_batches(shuffle, len(rows), steps, batch_size)]
                for rows, shuffle in zip(members, shuffles, strict=True)
            ],
            axis=1,
        )
        for batch, rate in zip(batches, rates_of_epoch, strict=True):
            params, opt_state, loss = _ensemble_step(
                model, params, opt_state, data, batch, rate, weight_decay
            )
            losses.append(loss)
        mean_loss = _finite_mean(losses, params, seeds, f"{model.name} in epoch {epoch}")
        if on_epoch is not None:
            on_epoch(epoch, mean_loss)
    return params


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def _ensemble_step(model, params, opt_state, data, batches, learning_rate, weight_decay):
    step = jax.vmap(partial(training_step, model), in_axes=(0, 0, None, 0, None, None))
    return step(params, opt_state, data, batches, learning_rate, weight_decay)


def _members(count: int, seeds: Sequence[int], membership: np.ndarray | None) -> list[np.ndarray]:
    """The rows of each model's examples."""
    if len(seeds) == 0:
        raise ValueError("seeds is empty: give one for each model.")
    if membership is None:
        return [np.arange(count)] * len(seeds)
    membership = np.asarray(membership)
    if membership.shape != (len(seeds), count) or membership.dtype != bool:
        raise ValueError(
            f"membership has shape {membership.shape} and dtype {membership.dtype}: give booleans "
            f"of shape ({len(seeds)}, {count}), one a seed and example."
        )
    if not membership.any(axis=1).all():
        empty = int(np.argmin(membership.any(axis=1)))
        raise ValueError(f"membership[{empty}] has no example: a model needs at least one.")
    return [np.flatnonzero(of_model) for of_model in membership]


def _finite_mean(losses: list[Any], params: Any, seeds: Sequence[int], where: str) -> float:
    means = np.mean(losses, axis=0)
    # The last step's harm shows in the parameters only.
    leaves = jax.tree.leaves(params)
    sound = [np.isfinite(leaf).reshape(len(seeds), -1).all(axis=1) for leaf in leaves]
    finite = np.isfinite(means) & np.logical_and.reduce(sound)
    if not finite.all():
        lost = [int(seed) for seed, kept in zip(seeds, finite, strict=True) if not kept]
        raise FloatingPointError(
            f"training {where} left the finite numbers for seeds {lost}: lower the learning rate, "
            "or look for non-finite inputs."
        )
    return float(means.mean())
