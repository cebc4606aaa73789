"""What happened, in words that the numbers bear."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from feasible_jax.report.findings import Finding, findings, numbers
from feasible_jax.report.groups import Group, by_scenario, find
from feasible_jax.report.verdicts import Comparison, compare_arms
from feasible_jax.report.wording import counted, joined, scenario_title

_NOTHING = "No method was run both alone and with feasible updates, so there is nothing to compare."


class ScenarioSummary(NamedTuple):
    """What happened in one scenario.

    Attributes:
      title: its name, as people read it.
      references: a sentence on the original and the retrained model.
      findings: one a method.

    >>> ScenarioSummary("Random examples", "", ()).findings
    ()
    """

    title: str
    references: str
    findings: tuple[Finding, ...]


def lead(groups: Sequence[Group]) -> str:
    """The paragraph on top: in how many comparisons feasible updates helped, hurt, or neither.

    Args:
      groups: as ``group_rows`` returns them.

    Returns:
      A few sentences.

    >>> lead([])
    'No method was run both alone and with feasible updates, so there is nothing to compare.'
    """
    comparisons = compare_arms(groups)
    if not comparisons:
        return _NOTHING
    scenarios = len({comparison.plain.scenario for comparison in comparisons})
    what = f"{counted(len(comparisons), 'comparison')} in {counted(scenarios, 'scenario')}"
    verdicts = Counter(comparison.verdict for comparison in comparisons)
    tally = _one_seed_tally(comparisons) if verdicts["one seed"] else _tally(verdicts)
    return (
        "Each method was run alone and with feasible updates, which apply only what batches show "
        "to be probably harmless to the retained data. The measure is the average gap to a model "
        f"retrained without the forget set. Of {what}, feasible updates {tally}"
    )


def summarise(groups: Sequence[Group]) -> list[ScenarioSummary]:
    """A summary of every scenario.

    Args:
      groups: as ``group_rows`` returns them.

    Returns:
      One a scenario, in table order.

    >>> summarise([Group("random", "original", "reference", False, ())])[0].title
    'Random examples'
    """
    return [
        ScenarioSummary(scenario_title(scenario), _references(members), findings(members))
        for scenario, members in by_scenario(groups).items()
    ]


def _tally(verdicts: Counter) -> str:
    parts = [
        f"came closer to that model in {verdicts['better']}",
        f"ended further away in {verdicts['worse']}",
        f"made no clear difference in {verdicts['no clear difference']}",
    ]
    if verdicts["unknown"]:
        parts.append(f"cannot be judged in {verdicts['unknown']}")
    return f"{joined(parts)} (95% intervals, paired over seeds)."


def _one_seed_tally(comparisons: Sequence[Comparison]) -> str:
    gaps = [comparison.gap.mean for comparison in comparisons if comparison.gap]
    smaller, larger = sum(gap < 0 for gap in gaps), sum(gap > 0 for gap in gaps)
    return (
        f"had the smaller gap in {smaller} and the larger in {larger}. Where there is one seed, "
        "no interval can tell a difference from chance."
    )


def _references(groups: Sequence[Group]) -> str:
    names = {"original": "Original model", "retrained": "Retrained, the target"}
    found = ((who, find(groups, method=name)) for name, who in names.items())
    return " ".join(f"{who}: {numbers(group, groups)}." for who, group in found if group)
