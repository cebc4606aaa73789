"""A built-in task: a dataset divided by a scenario, the original model and the retrained one."""

import itertools
import time
from collections.abc import Callable
from functools import lru_cache
from statistics import median
from typing import Any, NamedTuple

import jax
import numpy as np

from feasible_jax.data import Dataset, Split, load_dataset, make_split
from feasible_jax.experiments.config import TaskConfig
from feasible_jax.models import build_model, cross_entropy, train
from feasible_jax.unlearning.task import Examples, Task


class BuiltTask(NamedTuple):
    """A task, and what its reference models cost.

    Attributes:
      task: with ``params`` the original model and ``retrained`` the one trained on the retain set.
      original_seconds: training time of the original model without compilation; None if loaded.
      retrained_seconds: likewise of the retrained model.

    >>> built = build_task(TaskConfig(epochs=1, train_size=100), "random")
    >>> built.task.name
    'digits, random'
    """

    task: Task
    original_seconds: float | None
    retrained_seconds: float | None


Trainer = Callable[[str, Callable[[], tuple[Any, float]], Any], tuple[Any, float | None]]


def build_task(
    config: TaskConfig,
    scenario: str,
    seed: int = 0,
    *,
    on_epoch: Callable[[str, int, int, float], None] | None = None,
    trained: Trainer | None = None,
) -> BuiltTask:
    """Load and divide a dataset, and train the original and the retrained model.

    Args:
      config: dataset, model and division.
      scenario: ``"random"``, ``"class"`` or ``"corrupted_labels"``.
      seed: decides the division, the initial parameters and the order of training.
      on_epoch: called after each epoch with the model's role, the epoch, their number, the loss.
      trained: ``(role, train, like) -> (params, seconds)``, where a caller keeps trained models:
        called for the roles ``"original"`` and ``"retrained"``, it may return what it kept of the
        shapes ``like`` instead of calling ``train()``.

    Returns:
      A ``BuiltTask``.

    Raises:
      ValueError, FileNotFoundError: from the data room, before any training.

    >>> from feasible_jax.experiments.config import TaskConfig
    >>> built = build_task(TaskConfig(epochs=1, train_size=100), "random")
    >>> len(built.task.forget.labels), len(built.task.retain.labels)
    (10, 90)
    """
    dataset, split = divide(config, scenario, seed)
    classes = len(dataset.classes)
    model = build_model(config.model, split.retain.inputs.shape[1:], classes)

    def fit(role: str, examples: Examples) -> tuple[Any, float]:
        return _timed_training(model, examples, config.epochs, seed, role, on_epoch)

    trained = trained or (lambda role, run, like: run())
    like = jax.eval_shape(model.init, jax.random.key(0))
    both = Examples(*(np.concatenate(p) for p in zip(split.forget, split.retain, strict=True)))
    original, original_seconds = trained("original", lambda: fit("original", both), like)
    retrained, retrained_seconds = trained(
        "retrained", lambda: fit("retrained", split.retain), like
    )
    task = Task(
        name=f"{config.dataset}, {scenario}",
        loss_fn=cross_entropy(model),
        predict_fn=model.apply,
        params=original,
        forget=split.forget,
        retain=split.retain,
        validation=split.validation,
        test=split.test,
        num_classes=classes,
        retrained=retrained,
        forget_true_labels=split.forget_true_labels,
        forget_validation=split.forget_validation,
    )
    return BuiltTask(task, original_seconds, retrained_seconds)


def divide(config: TaskConfig, scenario: str, seed: int = 0) -> tuple[Dataset, Split]:
    """Load and divide a dataset; also a quick check that a configuration fits its data.

    Args:
      config: dataset and division.
      scenario: ``"random"``, ``"class"`` or ``"corrupted_labels"``.
      seed: decides the division.

    Returns:
      The ``Dataset`` and its ``Split``.

    Raises:
      ValueError, FileNotFoundError: from the data room.

    >>> dataset, split = divide(TaskConfig(train_size=100), "random")
    >>> dataset.name, len(split.forget.labels)
    ('digits', 10)
    """
    dataset = _load_once(config.dataset, config.data_dir)
    split = make_split(
        dataset,
        scenario,
        fraction=config.fraction,
        forget_class=config.forget_class,
        train_size=config.train_size,
        validation_size=config.validation_size,
        test_size=config.test_size,
        seed=seed,
    )
    return dataset, split


# A study divides the same dataset many times over.
_load_once = lru_cache(maxsize=1)(load_dataset)


def _timed_training(model, examples, epochs, seed, role, on_epoch) -> tuple[Any, float]:
    ends = [time.perf_counter()]

    def after(epoch: int, loss: float) -> None:
        ends.append(time.perf_counter())
        if on_epoch is not None:
            on_epoch(role, epoch, epochs, loss)

    params = train(model, examples, epochs=epochs, seed=seed, on_epoch=after)
    # The median epoch leaves out compilation, as do the run times of the methods.
    epoch_seconds = median(b - a for a, b in itertools.pairwise(ends))
    return params, epochs * epoch_seconds
