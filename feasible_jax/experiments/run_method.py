"""One run of a method, as a configuration says: for the run itself and for its shadow models."""

from dataclasses import replace
from typing import Any

from feasible_jax.experiments.arms import (
    ARMS,
    SGD_RATE,
    Pace,
    make_feasibility,
    make_method,
    pace_of,
)
from feasible_jax.experiments.config import SingleConfig
from feasible_jax.experiments.run_arm import run_arm
from feasible_jax.unlearning import Task, UnlearnResult

# Steps a chunk: enough of them for one to have been run without compilation.
_CHUNK = 10
# Of an optimizer that a method does not use by itself.
_RATES = {"sgd": SGD_RATE, "adam": 0.001}


def run_method(
    config: SingleConfig,
    task: Task,
    params: Any,
    seed: int,
    *,
    progress: bool = False,
    **options: Any,
) -> UnlearnResult:
    """Unlearn a task's forget set from a model, by the settings of a run.

    Whatever the model and the seed, it is compiled once.

    Args:
      config: method, arm and their settings.
      task: the sets and the losses.
      params: the model that has to forget, of the shapes of ``task.params``.
      seed: of the batches.
      progress: show a progress bar (on a terminal only).
      **options: further arguments of ``run_arm`` and of ``unlearn``.

    Returns:
      What ``unlearn`` returned.

    Raises:
      ValueError: for an unknown method or arm.
    """
    pace = pace_for(config)
    return run_arm(
        task,
        make_method(config.method, task.num_classes),
        make_feasibility(config.arm, config.density),
        learning_rate=pace.learning_rate,
        confidence=config.confidence if ARMS[config.arm].tests else None,
        optimizer=pace.optimizer,
        momentum=config.momentum,
        steps=pace.steps,
        batch_size=config.batch_size,
        seed=seed,
        look_every=_CHUNK,
        params=params,
        progress=progress,
        **options,
    )


def pace_for(config: SingleConfig) -> Pace:
    """The optimizer, learning rate and steps of a run: the method's own where none are given.

    An optimizer other than the method's own runs at 0.1 (SGD) or 0.001 (Adam).

    >>> pace_for(SingleConfig(method="neg_grad_plus", steps=7))
    Pace(learning_rate=0.1, steps=7, optimizer='sgd')
    """
    own = pace_of(config.method)
    optimizer = own.optimizer if config.optimizer is None else config.optimizer
    rate = own.learning_rate if optimizer == own.optimizer else _RATES[optimizer]
    return Pace(
        rate if config.learning_rate is None else config.learning_rate,
        own.steps if config.steps is None else config.steps,
        optimizer,
    )


def paced(config: SingleConfig) -> SingleConfig:
    """The same settings with none left to the method.

    >>> paced(SingleConfig(method="neg_grad_plus", steps=7)).learning_rate
    0.1
    """
    return replace(config, **pace_for(config)._asdict())


def chunk_steps(config: SingleConfig) -> int:
    """Steps between two looks.

    >>> chunk_steps(SingleConfig(steps=3)), chunk_steps(SingleConfig(steps=300))
    (3, 10)
    """
    return min(_CHUNK, pace_for(config).steps)
