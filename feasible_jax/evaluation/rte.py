"""Run-time efficiency."""

import math
from typing import NamedTuple


class RunTime(NamedTuple):
    """What a method costs.

    Attributes:
      minutes: of wall time; None if unknown.
      ratio: to the time of retraining from scratch; None if either is unknown.

    >>> RunTime(1.5, 0.1).minutes
    1.5
    """

    minutes: float | None
    ratio: float | None


def run_time_efficiency(seconds: float | None, retrain_seconds: float | None = None) -> RunTime:
    """Run-time efficiency (RTE): minutes, and the ratio to retraining from scratch.

    Lower is better; a method with a ratio above 1 has no reason to exist, for retraining is exact.
    Source: Jia et al., "Model sparsity can simplify machine unlearning", NeurIPS 2023
    (arXiv 2304.04934), who print minutes; the ratio is what carries over to another machine.

    Args:
      seconds: of wall time of the method, not negative.
      retrain_seconds: of retraining on the same machine, positive.

    Returns:
      ``RunTime(minutes, ratio)``, None where it cannot be known.

    Raises:
      ValueError: if a time is not finite, is negative, or retraining took none.

    >>> run_time_efficiency(90.0, 900.0)
    RunTime(minutes=1.5, ratio=0.1)
    """
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"seconds is {seconds}: give a finite time of at least 0.")
    if retrain_seconds is not None and not (math.isfinite(retrain_seconds) and retrain_seconds > 0):
        raise ValueError(f"retrain_seconds is {retrain_seconds}: give a finite time above 0.")
    minutes = None if seconds is None else seconds / 60
    known = seconds is not None and retrain_seconds is not None
    return RunTime(minutes, seconds / retrain_seconds if known else None)
