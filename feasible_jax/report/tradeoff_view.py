"""Which part of the plane a trade-off panel shows."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from feasible_jax.evaluation import MeanInterval
from feasible_jax.report.aggregate import mean_over_seeds
from feasible_jax.report.groups import Group, find

_NEAR = 10.0


class View(NamedTuple):
    """Limits of both axes, in percent.

    Attributes:
      x: of forget accuracy.
      y: of test accuracy.

    >>> View((0.0, 100.0), (0.0, 100.0)).x
    (0.0, 100.0)
    """

    x: tuple[float, float]
    y: tuple[float, float]


def point(group: Group) -> tuple[MeanInterval, MeanInterval] | None:
    """Where a group stands: its forget and its test accuracy; None where one is unknown.

    >>> point(Group("random", "original", "reference", False, ())) is None
    True
    """
    x = mean_over_seeds(group, "forget_accuracy")
    y = mean_over_seeds(group, "test_accuracy")
    return None if x is None or y is None else (x, y)


def whole_view(groups: Sequence[Group]) -> View | None:
    """Limits that hold every point; None where there is none.

    >>> rows = ({"seed": 0, "forget_accuracy": 99.0, "test_accuracy": 86.0},)
    >>> whole_view([Group("random", "original", "reference", False, rows)]).x
    (98.0, 100.0)
    """
    points = [p for group in groups if (p := point(group))]
    if not points:
        return None
    return View(_limits(x for x, _ in points), _limits(y for _, y in points))


def close_up(groups: Sequence[Group]) -> View | None:
    """Limits around the retrained model and those within 10 points of its test accuracy.

    The original is left to the other panel, for its forget accuracy is often 100 points away.

    Args:
      groups: all of one scenario.

    Returns:
      None where that would show every model or no unlearned one, or nothing is retrained.

    >>> close_up([Group("random", "original", "reference", False, ())]) is None
    True
    """
    retrained = find(groups, method="retrained")
    target = point(retrained) if retrained else None
    if retrained is None or target is None:
        return None
    arms = [(g, p) for g in groups if not g.is_reference and (p := point(g))]
    near = [g for g, p in arms if abs(p[1].mean - target[1].mean) <= _NEAR]
    if not 0 < len(near) < len(arms):
        return None
    return whole_view([retrained, *near])


def _limits(intervals: Iterable[MeanInterval]) -> tuple[float, float]:
    # Of two or three seeds an interval can be wider than all the rest: it may be cut, no mean may.
    means = [interval.mean for interval in intervals]
    low, high = min(means), max(means)
    room = max(0.08 * (high - low), 1.0)
    return low - room, high + room
