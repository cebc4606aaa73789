"""Harm that a batch misses: where a few examples carry it, no test can hold its level."""

import numpy as np
from calibration_tests import POWER_SHIFT


def missed(changes: np.ndarray, batch_size: int) -> float:
    """The probability that a batch has none of the worst examples, and so looks safe.

    The worst are the fewest without which the mean is `POWER_SHIFT` standard errors of a batch, or
    more, on the good side. With ``k`` of ``N`` it is ``(1 - k / N) ** B``, and such a batch is one
    of the rest. Whatever its level is, a test that certifies populations so far on the good side
    with power ``w`` certifies this one, which is at the boundary, at least ``w`` times as often.

    Args:
      changes: ``(N,)`` of every example, above 0 for harm; their mean is taken to be the boundary.
      batch_size: ``B``, drawn with replacement.

    Returns:
      The probability, 0 where no few examples are the cause.
    """
    worst_first = np.sort(np.asarray(changes, np.float64) - np.mean(changes))[::-1]
    left = len(worst_first) - np.arange(1, len(worst_first))
    mean = -np.cumsum(worst_first)[:-1] / left
    square = np.cumsum(worst_first[::-1] ** 2)[::-1][1:] / left
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    safe = (mean < 0) & (-mean * np.sqrt(batch_size) >= POWER_SHIFT * deviation)
    return float((left[safe.argmax()] / len(worst_first)) ** batch_size) if safe.any() else 0.0
