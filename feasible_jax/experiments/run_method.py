"""One run of a method, as a configuration says: for the run itself and for its shadow models."""

from collections.abc import Callable
from functools import cache
from typing import Any

import optax

from feasible_jax.experiments.arms import ARMS, make_feasibility, make_method
from feasible_jax.experiments.config import SingleConfig
from feasible_jax.unlearning import Task, UnlearnResult, unlearn

# Steps a chunk: enough of them for one to have been run without compilation.
_CHUNK = 10


def run_method(
    config: SingleConfig,
    task: Task,
    params: Any,
    seed: int,
    *,
    on_chunk: Callable[[int, Any], bool | None] | None = None,
    progress: bool = False,
) -> UnlearnResult:
    """Unlearn a task's forget set from a model, by the settings of a run.

    Whatever the model and the seed, it is compiled once.

    Args:
      config: method, arm and their settings.
      task: the sets and the losses.
      params: the model that has to forget, of the shapes of ``task.params``.
      seed: of the batches.
      on_chunk: as ``unlearn`` takes it; called every ``chunk_steps(config)`` steps.
      progress: show a progress bar (on a terminal only).

    Returns:
      What ``unlearn`` returned.

    Raises:
      ValueError: for an unknown method or arm.
    """
    return unlearn(
        task.loss_fn,
        params,
        forget=task.forget,
        retain=task.retain,
        method=make_method(config.method, task.num_classes),
        optimizer=_sgd(config.learning_rate, config.momentum),
        feasibility=make_feasibility(config.arm, config.density),
        steps=config.steps,
        batch_size=config.batch_size,
        key=seed,
        hyperparams={"confidence": config.confidence} if ARMS[config.arm].tests else None,
        predict_fn=task.predict_fn,
        chunk_size=chunk_steps(config),
        on_chunk=on_chunk,
        progress=progress,
    )


def chunk_steps(config: SingleConfig) -> int:
    """Steps between two calls of ``on_chunk``.

    >>> chunk_steps(SingleConfig(steps=3)), chunk_steps(SingleConfig(steps=300))
    (3, 10)
    """
    return min(_CHUNK, config.steps)


@cache
def _sgd(learning_rate: float, momentum: float) -> optax.GradientTransformation:
    return optax.sgd(learning_rate, momentum=momentum or None)
