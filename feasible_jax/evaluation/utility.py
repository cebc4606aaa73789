"""What hyper-parameters are chosen by: fast, and blind to the test set."""

from collections.abc import Mapping

import numpy as np

from feasible_jax.evaluation.accuracies import accuracy
from feasible_jax.evaluation.avg_gap import average_gap
from feasible_jax.evaluation.predictions import Predictions, predict
from feasible_jax.unlearning.task import Examples, Params, Task

UTILITY_METRICS = ("forget_accuracy", "retain_accuracy", "validation_accuracy")


def utility_scores(
    task: Task,
    params: Params,
    *,
    max_examples: int = 1000,
    seed: int = 0,
    batch_size: int = 250,
) -> dict[str, float | None]:
    """Accuracy on the forget set, on a sample of the retain set and on the validation set.

    Args:
      task: the sets, and the ``predict_fn``.
      params: the model to measure.
      max_examples: at most so many retain examples, always the same ones for the same seed.
      seed: of that draw.
      batch_size: examples a call of ``task.predict_fn``.

    Returns:
      ``forget_accuracy``, ``retain_accuracy`` and ``validation_accuracy``, in percent, and
      ``remaining_accuracy``: validation accuracy over the classes of which the retain set holds
      examples, None where there are none. A class that is to be forgotten as a whole is no loss.

    Raises:
      ValueError: if ``max_examples`` is not positive or ``predict_fn`` does not return logits.

    >>> some = Examples(np.eye(3, dtype=np.float32), np.array([0, 1, 1]))
    >>> task = Task("toy", None, lambda p, x: x * p, 2.0, some, some, some, some, num_classes=3)
    >>> {name: round(value, 1) for name, value in utility_scores(task, 2.0).items()}
    {'forget_accuracy': 66.7, 'retain_accuracy': 66.7, 'validation_accuracy': 66.7, 'remaining...
    """
    sets = (task.forget, _sample(task.retain, max_examples, seed), task.validation)
    seen = [predict(task.predict_fn, params, some, batch_size) for some in sets]
    scores: dict[str, float | None] = dict(zip(UTILITY_METRICS, map(accuracy, seen), strict=True))
    logits, labels = seen[-1]
    remain = np.isin(labels, np.unique(np.asarray(task.retain.labels)))
    scores["remaining_accuracy"] = (
        accuracy(Predictions(logits[remain], labels[remain])) if remain.any() else None
    )
    return scores


def utility_gap(
    task: Task,
    params: Params,
    reference: Mapping[str, float | None],
    *,
    max_examples: int = 1000,
    seed: int = 0,
    batch_size: int = 250,
) -> float:
    """The mean absolute difference to the retrained model, without a look at the test set.

    ``mean |model - reference|`` over forget, retain and VALIDATION accuracy. Lower is better.
    Choose hyper-parameters by this, and leave the test set to the final table.

    Args:
      task: the sets, and the ``predict_fn``.
      params: the model to measure.
      reference: the retrained model's accuracies: ``utility_scores(task, task.retrained)`` with the
        same ``max_examples`` and ``seed``, or the row ``evaluate`` returned.
      max_examples: at most so many retain examples, always the same ones for the same seed.
      seed: of that draw.
      batch_size: examples a call of ``task.predict_fn``.

    Returns:
      Percent points, in ``[0, 100]``.

    Raises:
      KeyError: if the reference misses one of the three accuracies.

    >>> some = Examples(np.eye(3, dtype=np.float32), np.array([0, 1, 1]))
    >>> task = Task("toy", None, lambda p, x: x * p, 2.0, some, some, some, some, num_classes=3)
    >>> utility_gap(task, 2.0, utility_scores(task, 2.0))
    0.0
    """
    scores = utility_scores(
        task, params, max_examples=max_examples, seed=seed, batch_size=batch_size
    )
    return average_gap(scores, reference, UTILITY_METRICS)


def _sample(examples: Examples, max_examples: int, seed: int) -> Examples:
    if max_examples < 1:
        raise ValueError(f"max_examples is {max_examples}: give at least 1.")
    if len(examples.labels) <= max_examples:
        return examples
    chosen = np.random.default_rng(seed).choice(len(examples.labels), max_examples, replace=False)
    return Examples(np.asarray(examples.inputs)[chosen], np.asarray(examples.labels)[chosen])
