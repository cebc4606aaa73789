"""Tug of war: forgetting, utility and generalisation in one number."""

import math
from collections.abc import Mapping

from feasible_jax.evaluation.avg_gap import difference

TOW_METRICS = ("forget_accuracy", "retain_accuracy", "test_accuracy")


def tug_of_war(row: Mapping[str, float | None], reference: Mapping[str, float | None]) -> float:
    """Tug of war (ToW): one minus the gap to the retrained model, multiplied over three sets.

    ``product over forget, retain, test accuracy of (1 - |row - reference| / 100)``. Higher is
    better, and 1 means the retrained model's accuracies. Source: Zhao et al., "What makes
    unlearning hard and what to do about it", NeurIPS 2024 (arXiv 2406.01257).

    Args:
      row: the yardsticks of the model at hand, in percent.
      reference: those of the retrained model.

    Returns:
      A number in ``[0, 1]``.

    Raises:
      KeyError: if either row misses one of the three accuracies.

    >>> model = dict(forget_accuracy=100.0, retain_accuracy=90.0, test_accuracy=80.0)
    >>> retrained = dict(forget_accuracy=50.0, retain_accuracy=100.0, test_accuracy=80.0)
    >>> tug_of_war(model, retrained)
    0.45
    """
    return math.prod(1.0 - difference(row, reference, name) / 100.0 for name in TOW_METRICS)
