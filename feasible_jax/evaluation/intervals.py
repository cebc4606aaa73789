"""Means and their confidence intervals over a handful of seeds."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class MeanInterval(NamedTuple):
    """A mean and what is known about it.

    Attributes:
      mean: in the unit of the values.
      half_width: the interval is ``mean - half_width`` to ``mean + half_width``; None for a single
        value, which says nothing about the spread.
      count: the number of values.

    >>> MeanInterval(86.0, 0.5, 5).count
    5
    """

    mean: float
    half_width: float | None
    count: int


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> MeanInterval:
    """The mean over seeds with its two-sided Student interval.

    ``mean +- t(confidence, n - 1) * s / sqrt(n)``, s the standard deviation with n - 1.

    Args:
      values: one number a seed, finite.
      confidence: of the interval, in ``(0, 1)``.

    Returns:
      ``MeanInterval(mean, half_width, count)``.

    Raises:
      ValueError: if there are no values, one is missing or not finite, or the confidence is
        outside ``(0, 1)``.

    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> interval.mean, round(interval.half_width, 3)
    (2.0, 2.484)
    """
    _check(values, confidence)
    count, mean = len(values), math.fsum(values) / len(values)
    if count == 1:
        return MeanInterval(mean, None, count)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return MeanInterval(
        mean, student_quantile(confidence, count - 1) * math.sqrt(variance / count), count
    )


def paired_interval(
    values: Sequence[float], others: Sequence[float], confidence: float = 0.95
) -> MeanInterval:
    """The mean difference ``values - others`` over seeds, with its Student interval.

    Two methods that ran on the same seeds share data and initialisation, so the spread of their
    differences is the one that counts, and mostly the smaller.

    Args:
      values: one number a seed.
      others: the other method's, of the same seeds in the same order.
      confidence: of the interval, in ``(0, 1)``.

    Returns:
      ``MeanInterval`` of the differences; the methods differ where 0 lies outside.

    Raises:
      ValueError: if the lengths differ, and as ``mean_interval`` does.

    >>> paired_interval([10.0, 20.0, 30.0], [9.0, 19.0, 29.0])
    MeanInterval(mean=1.0, half_width=0.0, count=3)
    """
    if len(values) != len(others):
        raise ValueError(
            f"{len(values)} values but {len(others)} others: pairs need the same seeds in both."
        )
    _check(values, confidence)
    _check(others, confidence)
    return mean_interval([a - b for a, b in zip(values, others, strict=True)], confidence)


def student_quantile(confidence: float, degrees: int) -> float:
    """The t with ``P(|T| <= t) = confidence`` for Student's T of so many degrees of freedom.

    With whole degrees of freedom the distribution is a finite sum (Abramowitz and Stegun, 26.7.3
    and 26.7.4), so neither scipy nor single precision comes in.

    Args:
      confidence: in ``(0, 1)``.
      degrees: a whole number, at least 1.

    Returns:
      A positive number.

    >>> round(student_quantile(0.95, 4), 4)
    2.7764
    """
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _within(angle: float, degrees: int) -> float:
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(odd, degrees - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _check(values: Sequence[float], confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: give a level between 0 and 1, such as 0.95.")
    if len(values) == 0:
        raise ValueError("no values: an interval over seeds needs at least one.")
    for i, value in enumerate(values):
        if value is None or not math.isfinite(value):
            raise ValueError(f"values[{i}] is {value}: leave that seed out, and say so.")
