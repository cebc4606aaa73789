"""One run of a method, as a configuration says: for the run itself and for its shadow models."""

from typing import Any

from feasible_jax.experiments.arms import ARMS, make_feasibility, make_method
from feasible_jax.experiments.config import SingleConfig
from feasible_jax.experiments.run_arm import run_arm
from feasible_jax.unlearning import Task, UnlearnResult

# Steps a chunk: enough of them for one to have been run without compilation.
_CHUNK = 10


def run_method(
    config: SingleConfig, task: Task, params: Any, seed: int, **options: Any
) -> UnlearnResult:
    """Unlearn a task's forget set from a model, by the settings of a run.

    Whatever the model and the seed, it is compiled once.

    Args:
      config: method, arm and their settings.
      task: the sets and the losses.
      params: the model that has to forget, of the shapes of ``task.params``.
      seed: of the batches.
      **options: further arguments of ``run_arm`` and of ``unlearn``.

    Returns:
      What ``unlearn`` returned.

    Raises:
      ValueError: for an unknown method or arm.
    """
    return run_arm(
        task,
        make_method(config.method, task.num_classes),
        make_feasibility(config.arm, config.density),
        learning_rate=config.learning_rate,
        confidence=config.confidence if ARMS[config.arm].tests else None,
        momentum=config.momentum,
        steps=config.steps,
        batch_size=config.batch_size,
        seed=seed,
        look_every=_CHUNK,
        params=params,
        **{"progress": False} | options,
    )


def chunk_steps(config: SingleConfig) -> int:
    """Steps between two looks.

    >>> chunk_steps(SingleConfig(steps=3)), chunk_steps(SingleConfig(steps=300))
    (3, 10)
    """
    return min(_CHUNK, config.steps)
