"""One row of the table: every yardstick of one model that is cheap and needs no other row."""

import math

import numpy as np

from feasible_jax.evaluation.accuracies import accuracy, unlearning_accuracy
from feasible_jax.evaluation.membership_auc import mia_auc
from feasible_jax.evaluation.membership_entropy import mia_entropy
from feasible_jax.evaluation.membership_svc import mia_svc
from feasible_jax.evaluation.per_example import cross_entropy, entropy, label_confidence
from feasible_jax.evaluation.prediction_distance import prediction_distance
from feasible_jax.evaluation.predictions import Predictions, predict
from feasible_jax.evaluation.random_params import random_params
from feasible_jax.evaluation.utility_fall import utility_fall
from feasible_jax.evaluation.zrf import zrf
from feasible_jax.unlearning.task import Params, Task

Row = dict[str, float | None]


def evaluate(
    task: Task,
    params: Params,
    *,
    seconds: float | None = None,
    seed: int = 0,
    batch_size: int = 250,
    margin: float = 0.5,
    confidence: float = 0.95,
) -> Row:
    """Measures one model by every yardstick that takes no training, on all examples of the task.

    It looks at the test set, so it is for the final table; choose hyper-parameters by
    ``utility_gap``. Evaluate the original and the retrained model too: the latter is the
    target of nearly every yardstick.

    Args:
      task: the sets, and the ``predict_fn``.
      params: the model to measure, in the structure of ``task.params``.
      seconds: the wall time it took to make that model, kept for ``compare``; None if unknown.
      seed: of the draw of members in ``mia_svc``, and of the incompetent teacher of ``zrf``.
      batch_size: examples a call of ``task.predict_fn``.
      margin: the smallest fall of test accuracy that matters, in percent points, of
        ``test_accuracy_fall_p``.
      confidence: of the bounds on falls of utility below that of ``task.params``, in ``(0, 1)``.

    Returns:
      A flat dictionary of the names in ``YARDSTICKS``, without those that are measured on request
      and those that ``compare`` adds, and ``seconds``. Accuracies, ``mia_svc`` and ``mia_entropy``
      in percent, ``mia_auc`` and ``zrf`` in ``[0, 1]``, losses and divergences in nats. Always fit
      for JSON: None stands for unknown and for infinite. ``forget_true_accuracy`` is there only if
      the task has ``forget_true_labels``. The falls of utility, see ``non_inferiority``, are of the
      test examples of classes that the retain set has too, and None for the original model itself.
      The divergences of predictions from the retrained model's are None where there is none.

    Raises:
      ValueError: if ``predict_fn`` does not return logits, or fewer classes than the labels need;
        if the margin or the confidence is out of range.

    >>> from feasible_jax.unlearning.task import Examples
    >>> def predict(params, inputs):
    ...     return inputs * params
    >>> some = Examples(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
    >>> task = Task("toy", None, predict, 2.0, some, some, some, some, num_classes=3)
    >>> row = evaluate(task, task.params)
    >>> row["forget_accuracy"], row["unlearning_accuracy"], row["mia_auc"]
    (100.0, 0.0, 0.5)
    """
    sets = {
        name: predict(task.predict_fn, params, getattr(task, name), batch_size)
        for name in ("forget", "retain", "test", "validation")
    }
    row: Row = {
        "forget_accuracy": accuracy(sets["forget"]),
        "unlearning_accuracy": unlearning_accuracy(sets["forget"]),
        "retain_accuracy": accuracy(sets["retain"]),
        "test_accuracy": accuracy(sets["test"]),
        "validation_accuracy": accuracy(sets["validation"]),
    }
    if task.forget_true_labels is not None:
        truth = np.asarray(task.forget_true_labels)
        row["forget_true_accuracy"] = accuracy(sets["forget"]._replace(labels=truth))
    row |= utility_fall(
        task,
        params,
        sets["test"],
        margin=margin,
        confidence=confidence,
        batch_size=batch_size,
    )
    row |= prediction_distance(task, sets, batch_size=batch_size)
    teacher = predict(task.predict_fn, random_params(task.params, seed), task.forget, batch_size)
    row["zrf"] = zrf(sets["forget"], teacher)
    return row | _membership(sets, seed) | _mean_losses(sets) | {"seconds": seconds}


def _membership(sets: dict[str, Predictions], seed: int) -> Row:
    auc = mia_auc(cross_entropy(sets["forget"]), cross_entropy(sets["test"]))
    attacked = [sets[name] for name in ("forget", "retain", "test")]
    return {
        "mia_svc": mia_svc(*map(label_confidence, attacked), seed=seed),
        "mia_entropy": mia_entropy(*map(entropy, attacked)),
        "mia_auc": auc.auc,
        "mia_auc_low": auc.low,
        "mia_auc_high": auc.high,
    }


def _mean_losses(sets: dict[str, Predictions]) -> Row:
    means = {
        f"{name}_loss": float(cross_entropy(sets[name]).mean())
        for name in ("forget", "retain", "test")
    }
    # JSON knows no infinity.
    return {name: mean if math.isfinite(mean) else None for name, mean in means.items()}
