"""The four tables of the headline, as rows of text."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

from feasible_jax.evaluation import MeanInterval, mean_interval
from feasible_jax.report.groups import PLAIN, REFERENCES
from feasible_jax.report.headline.gains import (
    Gain,
    arms_of,
    gains,
    over_configurations,
    signs,
    verdicts,
)
from feasible_jax.report.wording import scenario_title

Rows = Sequence[dict[str, Any]]
_FALLS = ("test_accuracy_fall",)


class TextTable(NamedTuple):
    """A table that is ready to be shown.

    Attributes:
      title: its heading.
      caption: how to read it.
      head: the names of the columns; the first holds names, the others figures.
      rows: their cells.

    >>> TextTable("Cost", "Times.", ("Arm", "Time"), (("plain", "1.0"),)).head
    ('Arm', 'Time')
    """

    title: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def headline_tables(closest: Rows, equal_utility: Rows) -> list[TextTable]:
    """All tables of a suite.

    Args:
      closest: one row a configuration, arm and seed, each run kept where it is closest to the
        retrained model on validation data; the original and retrained models among them.
      equal_utility: likewise, each kept where it has forgotten the most at equal utility.

    Returns:
      Gains at equal utility by scenario, the same by method, Avg. Gap, verdicts, and cost.

    >>> headline_tables([], [])
    []
    """
    forgotten = gains(equal_utility, "unlearning_accuracy")
    tables = [
        _gain_table(forgotten, equal_utility),
        _method_table(forgotten, equal_utility),
        _gap_table(closest),
        _verdict_table(forgotten, gains(closest, "avg_gap")),
        _cost_table(closest),
    ]
    return [table for table in tables if table.rows]


def _gain_table(forgotten: list[Gain], equal_utility: Rows) -> TextTable:
    scenarios = list(dict.fromkeys(gain.scenario for gain in forgotten))
    falls = gains(equal_utility, "test_accuracy")
    fall_of = {(g.configuration, g.arm): g for g in falls}
    lost = _over_rows(equal_utility, "test_accuracy_fall")
    rows = []
    for arm, some in arms_of(forgotten).items():
        by_scenario = [over_configurations([g for g in some if g.scenario == s]) for s in scenarios]
        paired = [fall_of[g.configuration, arm] for g in some if (g.configuration, arm) in fall_of]
        cells = [*by_scenario, over_configurations(some), over_configurations(paired)]
        rows.append((arm, *map(_interval, cells), _interval(lost.get(arm))))
    return TextTable(
        "Unlearning accuracy gained at equal utility",
        "Points of UA (100 less forget accuracy) that an arm gains over the plain form of the same "
        "method and seed, each kept at its look with the highest UA among those whose validation "
        "accuracy, of the classes that remain, lies at most half a point below the original "
        "model's. Means over configurations (dataset, model, scenario, method) of means over "
        "seeds, with 95% intervals over configurations. TA gained is test accuracy against the "
        "plain form, TA lost against the original model, of the classes that remain.",
        ("Arm", *map(scenario_title, scenarios), "All", "TA gained", "TA lost"),
        tuple(rows),
    )


def _method_table(forgotten: list[Gain], equal_utility: Rows) -> TextTable:
    arms = list(arms_of(forgotten))
    methods = list(dict.fromkeys(gain.method for gain in forgotten))
    plain = _over_rows([r for r in equal_utility if r["arm"] == PLAIN], "unlearning_accuracy",
                       key="method")  # fmt: skip
    rows = []
    for method in methods:
        of = [
            over_configurations([g for g in forgotten if (g.method, g.arm) == (method, arm)])
            for arm in arms
        ]
        rows.append((method, _interval(plain.get(method), sign=""), *map(_interval, of)))
    return TextTable(
        "The same, by method",
        "Plain is the UA of the method alone at equal utility; the others are gains over it. Means "
        "over datasets, models and scenarios, with 95% intervals.",
        ("Method", "Plain UA", *arms),
        tuple(rows),
    )


def _gap_table(closest: Rows) -> TextTable:
    rows_of = [row for row in closest if _finite(row.get("avg_gap"))]
    scenarios = list(dict.fromkeys(row["scenario"] for row in rows_of))
    labels = list(dict.fromkeys(_arm(row) for row in rows_of))
    rows = []
    for label in labels:
        ours = [row for row in rows_of if _arm(row) == label]
        cells = []
        for scenario in scenarios:
            means = _means([row for row in ours if row["scenario"] == scenario])
            best = min(means, key=lambda name: means[name]) if means else None
            average = _interval(mean_interval(list(means.values())) if means else None, sign="")
            shown = f"{means[best]:.2f}" if best else ""
            shown += f" ({best})" if best and label not in REFERENCES else ""
            cells += [average, shown]
        rows.append((label, *cells))
    head = [text for s in scenarios for text in (scenario_title(s), "its best")]
    return TextTable(
        "Avg. Gap to the retrained model",
        "Mean absolute difference over UA, RA, TA and MIA, in points; each run kept where forget, "
        "retain and validation accuracy are closest to the retrained model's. Means over methods, "
        "datasets and models with 95% intervals, and the best method of each arm. Doing nothing "
        "scores the original model's.",
        ("Arm", *head),
        tuple(rows),
    )


def _verdict_table(forgotten: list[Gain], closer: list[Gain]) -> TextTable:
    rows = []
    reversed_gaps = [g._replace(by_seed={s: -d for s, d in g.by_seed.items()}) for g in closer]
    for name, found in (("UA at equal utility", forgotten), ("Avg. Gap", reversed_gaps)):
        for arm, some in arms_of(found).items():
            verdict, sign = verdicts(some), signs(some)
            rows.append(
                (
                    f"{name}: {arm}",
                    *(f"{100 * part / len(some):.0f}%" for part in verdict),
                    f"{sign.better} / {sign.worse} / {sign.ties}",
                    f"{sign.p_value:.2g}",
                )
            )
    return TextTable(
        "Configurations improved, unchanged, made worse",
        "A configuration counts as improved or worse where its pairs of runs of the same seed are, "
        "in a one-sided sign test at 5% (with five seeds: all five). Beside it all pairs together, "
        "and the two-sided sign test over them.",
        ("Compared, arm", "Improved", "Unchanged", "Worse", "Pairs better / worse / tied", "p"),
        tuple(rows),
    )


def _cost_table(closest: Rows) -> TextTable:
    step = [
        row | {"step_seconds": row["seconds"] / row["steps"]}
        for row in closest
        if row.get("steps") and _finite(row.get("seconds")) and row["seconds"] > 0
    ]
    per_step: dict[str, list[float]] = {}
    plain = {
        (*_where(row), row["seed"]): row["step_seconds"] for row in step if row["arm"] == PLAIN
    }
    for row in step:
        base = plain.get((*_where(row), row["seed"]))
        if base:
            per_step.setdefault(row["arm"], []).append(row["step_seconds"] / base)
    rows = []
    for arm, ratios in per_step.items():
        ours = [row for row in step if row["arm"] == arm and _finite(row.get("rte_ratio"))]
        whole = [100 * row["rte_ratio"] for row in ours]
        share = f"{median(whole):.1f}%" if whole else ""
        rows.append((arm, f"{median(ratios):.2f}", f"{max(ratios):.2f}", share))
    return TextTable(
        "Cost",
        "Time of a step over that of the plain form, and time to the look that was kept over the "
        "time of retraining: medians over all runs, without compilation.",
        ("Arm", "Step, over plain", "at most", "Run, of retraining"),
        tuple(rows),
    )


def _where(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row[key] for key in ("dataset", "model", "scenario", "method"))


def _arm(row: dict[str, Any]) -> str:
    return row["method"] if row["method"] in REFERENCES else row["arm"]


def _means(rows: Rows) -> dict[str, float]:
    """Mean Avg. Gap by method, over seeds, datasets and models."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["method"], []).append(row["avg_gap"])
    return {method: math.fsum(some) / len(some) for method, some in values.items()}


def _over_rows(rows: Rows, metric: str, key: str = "arm") -> dict[str, MeanInterval]:
    """Means over configurations of means over seeds."""
    values: dict[str, dict[tuple, list[float]]] = {}
    for row in rows:
        # What is still the original model has lost nothing.
        value = 0.0 if metric in _FALLS and row.get("steps") == 0 else row.get(metric)
        if row["method"] not in REFERENCES and value is not None and math.isfinite(value):
            values.setdefault(row[key], {}).setdefault(_where(row), []).append(value)
    return {
        name: mean_interval([math.fsum(some) / len(some) for some in by_where.values()])
        for name, by_where in values.items()
    }


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _interval(interval: MeanInterval | None, sign: str = "+") -> str:
    if interval is None:
        return ""
    half = "" if interval.half_width is None else f" ± {interval.half_width:.1f}"
    return f"{interval.mean:{sign}.1f}{half}"
