"""The average gap to the retrained model."""

from collections.abc import Mapping, Sequence

AVG_GAP_METRICS = ("unlearning_accuracy", "retain_accuracy", "test_accuracy", "mia_svc")


def average_gap(
    row: Mapping[str, float | None],
    reference: Mapping[str, float | None],
    metrics: Sequence[str] = AVG_GAP_METRICS,
) -> float:
    """The mean absolute difference to the retrained model, in percent points (Avg. Gap).

    ``mean over UA, RA, TA, MIA of |row - reference|``. Lower is better, and 0 is the best. Read it
    beside the original model's row: forgetting a few random images changes so little that doing
    nothing has a small gap as well. Source: Fan et al., "SalUn", ICLR 2024 (arXiv 2310.12508).

    Args:
      row: the yardsticks of the model at hand, in percent.
      reference: those of the retrained model.
      metrics: which ones to average over.

    Returns:
      A number in ``[0, 100]``.

    Raises:
      KeyError: if either row misses one of the metrics.
      ValueError: if there are no metrics.

    >>> original = dict(zip(AVG_GAP_METRICS, (0.5, 99.0, 86.0, 4.0)))
    >>> retrained = dict(zip(AVG_GAP_METRICS, (9.5, 99.0, 87.0, 10.0)))
    >>> average_gap(original, retrained)
    4.0
    """
    if not metrics:
        raise ValueError("metrics is empty: name at least one yardstick to average over.")
    return sum(difference(row, reference, name) for name in metrics) / len(metrics)


def difference(
    row: Mapping[str, float | None], reference: Mapping[str, float | None], name: str
) -> float:
    """The absolute difference of two rows in one yardstick, in that yardstick's unit.

    Args:
      row: the yardsticks of the model at hand.
      reference: those of the retrained model.
      name: which yardstick.

    Returns:
      A number not below 0.

    Raises:
      KeyError: if either row has no value for it.

    >>> difference({"retain_accuracy": 98.0}, {"retain_accuracy": 99.5}, "retain_accuracy")
    1.5
    """
    value, target = row.get(name), reference.get(name)
    if value is None or target is None:
        owner, keys = ("row", row) if value is None else ("reference", reference)
        raise KeyError(f"the {owner} has no value for {name!r}, only for {sorted(keys)}")
    return abs(value - target)
