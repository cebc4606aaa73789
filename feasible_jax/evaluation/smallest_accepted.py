"""The smallest margin that a test accepts: how a test becomes a bound."""

import math
from collections.abc import Callable

# No more, or a test in single precision would no longer see what varies beside the margin.
_DOUBLINGS = 12
_HALVINGS = 45


def smallest_accepted(
    p_value: Callable[[float], float], level: float, low: float, high: float
) -> float:
    """The smallest margin with ``p_value(margin) <= level``, by bisection.

    Args:
      p_value: of a margin, not increasing.
      level: of the test.
      low: a margin that is refused.
      high: a margin that is accepted, or the largest there is.

    Returns:
      A margin that is accepted; ``high`` where none below it is.

    >>> round(smallest_accepted(lambda margin: 1 - margin, 0.25, 0.0, 1.0), 6)
    0.75
    """
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if p_value(middle) <= level else (middle, high)
    return high


def bracket(
    p_value: Callable[[float], float], level: float, centre: float, step: float
) -> tuple[float, float]:
    """A margin that is refused and one that is accepted, found by doubling the step.

    Args:
      p_value: of a margin, not increasing.
      level: of the test.
      centre: a margin to begin from.
      step: above 0.

    Returns:
      ``(low, high)``; an end is infinite where all margins up to 2048 steps away are accepted, or
      all are refused.

    >>> bracket(lambda margin: float(margin < 5), 0.05, 0.0, 1.0)
    (-1.0, 8.0)
    """
    steps = [step * 2.0**k for k in range(_DOUBLINGS)]
    low = next((centre - s for s in steps if p_value(centre - s) > level), -math.inf)
    high = next((centre + s for s in steps if p_value(centre + s) <= level), math.inf)
    return low, high
