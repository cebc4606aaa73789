"""Did testing the updates bring a method closer to the retrained model?"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from feasible_jax.evaluation import MeanInterval
from feasible_jax.report.aggregate import paired_difference
from feasible_jax.report.groups import PLAIN, Group, find

Verdict = Literal["better", "worse", "no clear difference", "one seed", "unknown"]


class Comparison(NamedTuple):
    """A feasible arm beside the plain arm of the same method.

    Attributes:
      plain: the plain arm.
      feasible: the feasible arm.
      gap: Avg. Gap of feasible minus plain, percent points, paired over seeds; None if unknown.
      verdict: by that interval; ``"one seed"`` where there is a difference but no interval.

    >>> arm = Group("random", "NegGrad+", "plain", False, ())
    >>> Comparison(arm, arm, None, "unknown").verdict
    'unknown'
    """

    plain: Group
    feasible: Group
    gap: MeanInterval | None
    verdict: Verdict


def compare_arms(groups: Sequence[Group]) -> list[Comparison]:
    """Every feasible arm beside the plain arm of its scenario and method.

    Args:
      groups: as ``group_rows`` returns them.

    Returns:
      One comparison a feasible arm, in table order; none where there is no plain arm.

    >>> def arm(name, *gaps):
    ...     rows = tuple({"seed": i, "avg_gap": gap} for i, gap in enumerate(gaps))
    ...     return Group("random", "NegGrad+", name, name == "feasible", rows)
    >>> [comparison] = compare_arms([arm("plain", 9.0, 9.1), arm("feasible", 1.0, 1.2)])
    >>> comparison.verdict
    'better'
    """
    comparisons = []
    for feasible in groups:
        plain = find(groups, scenario=feasible.scenario, method=feasible.method, arm=PLAIN)
        if feasible.feasible and plain is not None:
            gap = paired_difference(feasible, plain, "avg_gap")
            comparisons.append(Comparison(plain, feasible, gap, verdict_of(gap)))
    return comparisons


def verdict_of(gap: MeanInterval | None) -> Verdict:
    """What a paired difference in Avg. Gap, where lower is better, allows one to say.

    Args:
      gap: feasible minus plain.

    Returns:
      ``"better"`` or ``"worse"`` only where the interval excludes 0.

    >>> verdict_of(MeanInterval(mean=2.0, half_width=1.0, count=3))
    'worse'
    """
    if gap is None:
        return "unknown"
    if gap.half_width is None:
        return "one seed"
    if abs(gap.mean) <= gap.half_width:
        return "no clear difference"
    return "better" if gap.mean < 0 else "worse"
