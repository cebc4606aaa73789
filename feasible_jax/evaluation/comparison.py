"""What a row is worth beside the retrained model's."""

from collections.abc import Mapping

from feasible_jax.evaluation.avg_gap import average_gap
from feasible_jax.evaluation.rte import run_time_efficiency
from feasible_jax.evaluation.tow import tug_of_war


def compare(
    row: Mapping[str, float | None], retrained_row: Mapping[str, float | None]
) -> dict[str, float | None]:
    """A row, with the yardsticks added that need the retrained model's row.

    Args:
      row: what ``evaluate`` returned for the model at hand.
      retrained_row: what it returned for the retrained model, on the same task and seed.

    Returns:
      A new dictionary: ``row`` and ``avg_gap`` (percent points, lower is better), ``tow`` (in
      ``[0, 1]``, higher is better), ``rte_minutes`` and ``rte_ratio`` (lower is better; None where
      ``seconds`` is not known).

    Raises:
      KeyError: if a row misses an accuracy or ``mia_svc``.
      ValueError: if ``seconds`` is negative, or 0 for the retrained model.

    >>> names = ("forget_accuracy", "unlearning_accuracy", "retain_accuracy", "test_accuracy")
    >>> row = dict.fromkeys(names, 50.0) | {"mia_svc": 12.0, "seconds": 30.0}
    >>> compared = compare(row, row)
    >>> [compared[name] for name in ("avg_gap", "tow", "rte_minutes", "rte_ratio")]
    [0.0, 1.0, 0.5, 1.0]
    """
    time = run_time_efficiency(row.get("seconds"), retrained_row.get("seconds"))
    return dict(row) | {
        "avg_gap": average_gap(row, retrained_row),
        "tow": tug_of_war(row, retrained_row),
        "rte_minutes": time.minutes,
        "rte_ratio": time.ratio,
    }
