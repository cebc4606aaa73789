"""What testing its updates did to each method, in words."""

from collections.abc import Sequence
from typing import NamedTuple

from feasible_jax.report.aggregate import finite_values, mean_over_seeds
from feasible_jax.report.groups import PLAIN, Group, by_method, find
from feasible_jax.report.verdicts import Comparison, compare_arms
from feasible_jax.report.wording import MISSING, below_original, fixed, has_wrong_labels, number

MINUS, NBSP = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"


class ArmFinding(NamedTuple):
    """What one feasible arm did.

    Attributes:
      label: the verdict in a few words.
      tone: ``"better"``, ``"worse"`` or ``"open"``, for its colour.
      text: its accuracies, its gap, and the change against the plain arm.

    >>> ArmFinding("better", "better", "With feasible updates: ...").tone
    'better'
    """

    label: str
    tone: str
    text: str


class Finding(NamedTuple):
    """What testing its updates did to one method.

    Attributes:
      method: its name.
      alone: the accuracies and the gap of the plain arm, or of all arms without a comparison.
      arms: one a feasible arm.

    >>> Finding("NegGrad+", "Alone: ...", ()).arms
    ()
    """

    method: str
    alone: str
    arms: tuple[ArmFinding, ...]


def findings(groups: Sequence[Group]) -> tuple[Finding, ...]:
    """Every method's plain arm, and each feasible arm beside it.

    Args:
      groups: all of one scenario, as ``group_rows`` returns them.

    Returns:
      One a method. "Better" and "worse" stand only where the paired 95% interval of
      the Avg. Gap excludes 0; one seed gets the plain numbers.

    >>> def arm(name, *gaps):
    ...     rows = tuple({"seed": i, "avg_gap": gap} for i, gap in enumerate(gaps))
    ...     return Group("random", "NegGrad+", name, name == "feasible", rows)
    >>> [finding] = findings([arm("plain", 9.0, 9.1), arm("feasible", 1.0, 1.2)])
    >>> finding.alone
    'Alone: forget accuracy unknown, test accuracy unknown, Avg. Gap 9.1.'
    """
    comparisons = compare_arms(groups)
    found = []
    for method, members in by_method(groups).items():
        arms = [c for c in comparisons if c.plain.method == method]
        alone = [arms[0].plain] if arms else members
        text = " ".join(f"{_who(group)}: {numbers(group, groups)}." for group in alone)
        found.append(Finding(method, text, tuple(_arm(c, groups) for c in arms)))
    return tuple(found)


def _who(group: Group) -> str:
    names = {PLAIN: "Alone", "feasible": "With feasible updates"}
    return names.get(group.arm, f"With “{group.arm}”")


def _arm(comparison: Comparison, groups: Sequence[Group]) -> ArmFinding:
    feasible = comparison.feasible
    shown = f"{_who(feasible)}: {numbers(feasible, groups)}"
    text = f"{shown}{_change(comparison)}{_no_closer(feasible, groups)}"
    return ArmFinding(*_label(comparison), text)


def numbers(group: Group, groups: Sequence[Group]) -> str:
    """The accuracies of a group, how far it fell, and its Avg. Gap unless that is 0 by definition.

    Args:
      group: whose.
      groups: all of its scenario.

    Returns:
      A part of a sentence.

    >>> numbers(group := Group("random", "retrained", "reference", False, ()), [group])
    'forget accuracy unknown, test accuracy unknown'
    """
    forget = "accuracy on the wrong labels" if has_wrong_labels(groups) else "forget accuracy"
    metrics = {forget: "forget_accuracy", "test accuracy": "test_accuracy"}
    if group.method != "retrained":
        metrics["Avg. Gap"] = "avg_gap"
    values = {name: number(mean_over_seeds(group, metric)) for name, metric in metrics.items()}
    bounds = list(finite_values(group, "test_accuracy_fall_bound").values())
    # A bound that some seeds lack holds for none but the others.
    if bounds and len(bounds) == len(group.rows):
        values["test accuracy"] += f" ({below_original(bounds)})"
    return ", ".join(f"{name} {value}" for name, value in values.items()).replace(
        MISSING, "unknown"
    )


def _change(comparison: Comparison) -> str:
    gap = comparison.gap
    if gap is None:
        return ". No seed has an Avg. Gap for both, so they cannot be compared."
    if gap.half_width is None:
        return "."
    seeds = len({row["seed"] for g in (comparison.plain, comparison.feasible) for row in g.rows})
    partly = f", over the {gap.count} of {seeds} seeds that have both" if gap.count < seeds else ""
    interval = f"{_signed(gap.mean)}{NBSP}±{NBSP}{fixed(gap.half_width)}{NBSP}points"
    return f", a change of {interval}{partly}."


def _signed(value: float) -> str:
    text = fixed(abs(value))
    return text if float(text) == 0 else f"{MINUS if value < 0 else '+'}{text}"


def _no_closer(feasible: Group, groups: Sequence[Group]) -> str:
    original = find(groups, method="original")
    gaps = [mean_over_seeds(group, "avg_gap") for group in (feasible, original)]
    if gaps[0] and gaps[1] and gaps[0].mean >= gaps[1].mean:
        return " That is no closer to the retrained model than the original, which forgot nothing."
    return ""


def _label(comparison: Comparison) -> tuple[str, str]:
    verdict, gap = comparison.verdict, comparison.gap
    if verdict in ("better", "worse"):
        return verdict, verdict
    if verdict == "one seed" and gap is not None:
        change = "smaller gap" if gap.mean < 0 else "larger gap" if gap.mean > 0 else "same gap"
        return f"{change}, one seed", "open"
    return verdict, "open"
