"""Means over seeds, and paired differences between arms."""

import math
from typing import Any

from feasible_jax.evaluation import MeanInterval, mean_interval, paired_interval
from feasible_jax.report.groups import Group

CONFIDENCE = 0.95


def mean_over_seeds(group: Group | None, metric: str) -> MeanInterval | None:
    """The mean of a yardstick over the seeds that have a value, with its 95% Student interval.

    Args:
      group: the seeds; None counts as none.
      metric: a key of the rows.

    Returns:
      The interval, whose ``count`` may be below the number of seeds; None where no seed has a
      finite value.

    >>> rows = tuple({"seed": i, "test_accuracy": a} for i, a in enumerate((84.0, None, 86.0)))
    >>> interval = mean_over_seeds(Group("random", "NegGrad+", "plain", False, rows),
    ...                            "test_accuracy")
    >>> interval.mean, interval.count
    (85.0, 2)
    """
    values = list(finite_values(group, metric).values())
    return mean_interval(values, CONFIDENCE) if values else None


def paired_difference(group: Group, other: Group, metric: str) -> MeanInterval | None:
    """The mean of ``group - other`` over the seeds where both have a value.

    Args:
      group: one arm.
      other: the arm it is held against.
      metric: a key of the rows.

    Returns:
      ``MeanInterval`` of the differences; None where no seed has both.

    >>> def arm(name, *gaps):
    ...     rows = tuple({"seed": i, "avg_gap": gap} for i, gap in enumerate(gaps))
    ...     return Group("random", "NegGrad+", name, name == "feasible", rows)
    >>> paired_difference(arm("feasible", 1.0, 2.0), arm("plain", 4.0, 5.0, 9.0), "avg_gap")
    MeanInterval(mean=-3.0, half_width=0.0, count=2)
    """
    ours, theirs = finite_values(group, metric), finite_values(other, metric)
    shared = [seed for seed in ours if seed in theirs]
    if not shared:
        return None
    return paired_interval([ours[s] for s in shared], [theirs[s] for s in shared], CONFIDENCE)


def finite_values(group: Group | None, metric: str) -> dict[Any, float]:
    """The finite values of a yardstick by seed, by ascending seed.

    >>> rows = ({"seed": 0, "tow": 0.5}, {"seed": 1, "tow": float("nan")})
    >>> finite_values(Group("random", "NegGrad+", "plain", False, rows), "tow")
    {0: 0.5}
    """
    values = {row["seed"]: row.get(metric) for row in (group.rows if group else ())}
    return {s: float(v) for s, v in values.items() if v is not None and math.isfinite(v)}
