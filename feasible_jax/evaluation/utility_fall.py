"""How far utility fell below the original model's, at most: the part of a row that needs both."""

import math

import jax
import numpy as np

from feasible_jax.evaluation.loss_non_inferiority import loss_non_inferiority
from feasible_jax.evaluation.non_inferiority import non_inferiority
from feasible_jax.evaluation.predictions import Predictions, predict
from feasible_jax.unlearning.task import Params, Task

_NAMES = (
    "test_accuracy_fall",
    "test_accuracy_fall_bound",
    "test_accuracy_fall_p",
    "test_loss_rise_bound",
)


def utility_fall(
    task: Task,
    params: Params,
    test: Predictions,
    *,
    margin: float = 0.5,
    confidence: float = 0.95,
    batch_size: int = 250,
) -> dict[str, float | None]:
    """Tests a model against the original one, on the test examples of the classes that remain.

    A class of which the retain set holds no example is to be forgotten as a whole; what becomes of
    it is no loss of utility, so its test examples are left out.

    Args:
      task: the test set, and the original model ``task.params``.
      params: the model at hand.
      test: its predictions on the whole test set.
      margin: in percent points of accuracy.
      confidence: in ``(0, 1)``.
      batch_size: examples a call of ``task.predict_fn``.

    Returns:
      ``test_accuracy_fall`` and ``test_accuracy_fall_bound`` in percent points,
      ``test_accuracy_fall_p`` at the margin, ``test_loss_rise_bound`` in nats. All None where the
      parameters are the original model's, or the test set holds no class that remains; the last
      where it is infinite.

    Raises:
      ValueError: if the margin or the confidence is out of range.

    >>> from feasible_jax.unlearning.task import Examples
    >>> some = Examples(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
    >>> task = Task("toy", None, lambda p, x: x * p, 2.0, some, some, some, some, num_classes=3)
    >>> fall = utility_fall(task, 1.0, predict(task.predict_fn, 1.0, task.test))
    >>> fall["test_accuracy_fall"], round(fall["test_accuracy_fall_bound"], 1)
    (0.0, 63.2)
    """
    remain = np.isin(test.labels, np.unique(np.asarray(task.retain.labels)))
    if _same(params, task.params) or not remain.any():
        return dict.fromkeys(_NAMES)
    original = predict(task.predict_fn, task.params, task.test, batch_size)
    both = [Predictions(logits[remain], labels[remain]) for logits, labels in (original, test)]
    accuracy = non_inferiority(*both, margin=margin, confidence=confidence)
    rise = loss_non_inferiority(*both, confidence=confidence).bound
    values = (*accuracy[:3], rise if math.isfinite(rise) else None)
    return dict(zip(_NAMES, values, strict=True))


def _same(params: Params, others: Params) -> bool:
    if params is others:
        return True
    leaves, known = jax.tree.leaves(params), jax.tree.leaves(others)
    return len(leaves) == len(known) and all(map(np.array_equal, leaves, known))
