"""The tables of the headline, as rows of text."""

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from feasible_jax.evaluation import MeanInterval, mean_interval
from feasible_jax.report.groups import PLAIN, REFERENCES
from feasible_jax.report.headline.gains import (
    Gain,
    arms_of,
    by_data,
    configuration_of,
    gains,
    is_apart,
    over_configurations,
    set_apart,
    signs,
    utility_fall_of,
    utility_fall_p,
    verdicts,
)
from feasible_jax.report.headline.targets import target_table
from feasible_jax.report.headline.text_table import TextTable
from feasible_jax.report.wording import scenario_title

Rows = Sequence[dict[str, Any]]
_FALL = "test_accuracy_fall"
# Points of accuracy that count as no loss.
_NO_LOSS = 0.5
# Of the test that no more is lost.
_LEVEL = 0.05


def headline_tables(closest: Rows, equal_utility: Rows) -> list[TextTable]:
    """All tables of a suite.

    Args:
      closest: one row a configuration, arm and seed, each run kept where it is closest to the
        retrained model on validation data; the original and retrained models among them.
      equal_utility: likewise, each kept where it has forgotten the most at equal utility.

    Returns:
      Gains at equal utility by scenario, the same by dataset where there are several and by method,
      Avg. Gap, verdicts, cost, and what was aimed at.

    >>> headline_tables([], [])
    []
    """
    closest, equal_utility = set_apart(closest), set_apart(equal_utility)
    forgotten = gains(equal_utility, "unlearning_accuracy")
    tables = [
        _gain_table(forgotten, equal_utility),
        _data_table(forgotten),
        _method_table(forgotten, equal_utility, closest),
        *_on_each(closest, _gap_table),
        _verdict_table(forgotten, gains(closest, "avg_gap")),
        *_on_each(closest, _cost_table),
        target_table(closest, equal_utility),
    ]
    return [table for table in tables if table.rows]


def _gain_table(forgotten: list[Gain], equal_utility: Rows) -> TextTable:
    scenarios = list(dict.fromkeys(gain.scenario for gain in forgotten))
    falls = gains(equal_utility, "test_accuracy")
    fall_of = {(g.configuration, g.arm): g for g in falls}
    lost = _over_rows(equal_utility, _FALL)
    rows = []
    for arm, some in arms_of(forgotten).items():
        by_scenario = [over_configurations([g for g in some if g.scenario == s]) for s in scenarios]
        paired = [fall_of[g.configuration, arm] for g in some if (g.configuration, arm) in fall_of]
        cells = [*by_scenario, over_configurations(some), over_configurations(paired)]
        shares = _share_that_lost(equal_utility, arm), _share_shown(equal_utility, arm)
        losses = (_interval(lost.get(arm)), *shares)
        rows.append((arm, *map(_interval, cells), *losses))
    return TextTable(
        "Unlearning accuracy gained at equal utility",
        "Points of UA (100 less forget accuracy) that an arm gains over the plain form of the same "
        "method and seed, each kept at its look with the highest UA among those whose validation "
        "accuracy, of the classes that remain, lies at most half a point below the original "
        "model's. Means over configurations (dataset, model, scenario, method) of means over "
        "seeds, with 95% intervals over configurations. TA gained is test accuracy against the "
        "plain form, TA lost against the original model, of the classes that remain; over 0.5 "
        "is the share of runs that have lost more than half a point of it on the test set, and "
        "shown the share whose fall on all such data is at most half a point with 95% confidence "
        "(an exact paired test of non-inferiority).",
        (
            "Arm",
            *map(scenario_title, scenarios),
            "All",
            "TA gained",
            "TA lost",
            "over 0.5",
            "shown",
        ),
        tuple(rows),
    )


def _data_table(forgotten: list[Gain]) -> TextTable:
    data = list(dict.fromkeys((gain.dataset, gain.model) for gain in forgotten))
    rows = [
        (arm, *(_interval(over_configurations([g for g in some if g[:2] == on])) for on in data))
        for arm, some in arms_of(forgotten).items()
        if len(data) > 1
    ]
    return TextTable(
        "The same, by dataset and model",
        "Gains over the plain form as above, each column over its own methods and scenarios.",
        ("Arm", *(f"{dataset}, {model}" for dataset, model in data)),
        tuple(rows),
    )


def _share_that_lost(equal_utility: Rows, arm: str) -> str:
    falls = [utility_fall_of(row) for row in equal_utility if row["arm"] == arm]
    known = [fall for fall in falls if fall is not None and math.isfinite(fall)]
    return f"{100 * sum(f > _NO_LOSS for f in known) / len(known):.0f}%" if known else ""


def _share_shown(equal_utility: Rows, arm: str) -> str:
    p_values = [utility_fall_p(row) for row in equal_utility if row["arm"] == arm]
    known = [p for p in p_values if p is not None]
    return f"{100 * sum(p <= _LEVEL for p in known) / len(known):.0f}%" if known else ""


def _method_table(forgotten: list[Gain], equal_utility: Rows, closest: Rows) -> TextTable:
    arms = list(arms_of(forgotten))
    methods = list(dict.fromkeys(gain.method for gain in forgotten))
    plain = _over_rows([r for r in equal_utility if r["arm"] == PLAIN], "unlearning_accuracy",
                       key="method")  # fmt: skip
    references = _over_rows(
        [row for row in closest if row["method"] in REFERENCES], "unlearning_accuracy", "method"
    )
    rows = [
        (name, _mean(references[name], sign=""), *[""] * len(arms))
        for name in REFERENCES
        if name in references and methods
    ]
    apart = _over_rows([r for r in equal_utility if is_apart(r)], "unlearning_accuracy")
    rows += [
        (name, _mean(mean, sign=""), *[""] * len(arms)) for name, mean in apart.items() if methods
    ]
    for method in methods:
        of = [
            over_configurations([g for g in forgotten if (g.method, g.arm) == (method, arm)])
            for arm in arms
        ]
        rows.append((method, _mean(plain.get(method), sign=""), *map(_mean, of)))
    return TextTable(
        "The same, by method",
        "Plain is the UA of the method alone at equal utility, and of the two reference models; "
        "the others are gains over it. Methods without gains ran plain alone. More than the "
        "retrained model's is more than was asked for. Means over datasets, models and scenarios, "
        "too few for intervals.",
        ("Method", "Plain UA", *arms),
        tuple(rows),
    )


def _on_each(rows: Rows, table: Callable[[Rows], TextTable]) -> list[TextTable]:
    """One a dataset and model: gaps on them, or costs, have no common scale."""
    found = by_data(rows)
    tables = [table(some) for some in found.values()]
    if len(tables) < 2:
        return tables
    return [
        made._replace(title=f"{made.title}: {', '.join(where)}")
        for where, made in zip(found, tables, strict=True)
    ]


def _gap_table(closest: Rows) -> TextTable:
    known = [row for row in closest if _finite(row.get("avg_gap"))]
    scenarios = list(dict.fromkeys(row["scenario"] for row in known))
    labels = list(dict.fromkeys(map(_arm, known)))
    rows = []
    for label in labels:
        ours = [row for row in known if _arm(row) == label]
        cells = []
        for scenario in scenarios:
            means = _means([row for row in ours if row["scenario"] == scenario])
            best = min(means, key=lambda name: means[name]) if means else None
            average = _interval(mean_interval(list(means.values())) if means else None, sign="")
            shown = f"{means[best]:.2f}" if best else ""
            shown += f" ({best})" if best and best != label else ""
            cells += [average, shown]
        rows.append((label, *cells))
    head = [text for s in scenarios for text in (scenario_title(s), "its best")]
    return TextTable(
        "Avg. Gap to the retrained model",
        "Mean absolute difference over UA, RA, TA and MIA, in points; each run kept where forget, "
        "retain and validation accuracy are closest to the retrained model's. Means over methods "
        "with 95% intervals, and the best method of each arm; below them the methods that ran "
        "plain alone. Doing nothing scores the original model's.",
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
    timed = [row for row in closest if row.get("step_seconds") and row.get("run_seconds")]
    plain = {(*configuration_of(row), row["seed"]): row for row in timed if row["arm"] == PLAIN}
    arms: dict[str, list[dict[str, Any]]] = {}
    for row in timed:
        arms.setdefault(row["arm"], []).append(row)
    rows = []
    for arm, ours in arms.items():
        bases = [plain.get((*configuration_of(row), row["seed"])) for row in ours]
        pairs = [(row, base) for row, base in zip(ours, bases, strict=True) if base]
        steps = [row["step_seconds"] / base["step_seconds"] for row, base in pairs]
        runs = [row["run_seconds"] / base["run_seconds"] for row, base in pairs]
        shares = [100 * row["rte_ratio"] for row in ours if _finite(row.get("rte_ratio"))]
        over = (f"{median(steps):.2f}", f"{median(runs):.2f}", f"{max(runs):.2f}") if pairs else ""
        share = f"{median(shares):.1f}%" if shares else ""
        rows.append((arm, *(over or ("", "", "")), share))
    return TextTable(
        "Cost",
        "Times over those of the plain form, of a step and of a whole run (what the method "
        "prepares, and all steps of a trial), and time to the look that was kept over the time of "
        "retraining: medians over all runs, without compilation. Runs that share their cores with "
        "others (--jobs) are slower than alone, each arm about alike.",
        ("Arm", "Step, over plain", "Run, over plain", "at most", "Run kept, of retraining"),
        tuple(rows),
    )


def _arm(row: dict[str, Any]) -> str:
    return row["method"] if row["method"] in REFERENCES else row["arm"]


def _means(rows: Rows) -> dict[str, float]:
    """Mean Avg. Gap by method, over seeds."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["method"], []).append(row["avg_gap"])
    return {method: math.fsum(some) / len(some) for method, some in values.items()}


def _over_rows(rows: Rows, metric: str, key: str = "arm") -> dict[str, MeanInterval]:
    """Means over configurations of means over seeds."""
    values: dict[str, dict[tuple, list[float]]] = {}
    for row in rows:
        value = utility_fall_of(row) if metric == _FALL else row.get(metric)
        if value is not None and math.isfinite(value):
            values.setdefault(row[key], {}).setdefault(configuration_of(row), []).append(value)
    return {
        name: mean_interval([math.fsum(some) / len(some) for some in by_where.values()])
        for name, by_where in values.items()
    }


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _mean(interval: MeanInterval | None, sign: str = "+") -> str:
    return "" if interval is None else f"{interval.mean:{sign}.1f}"


def _interval(interval: MeanInterval | None, sign: str = "+") -> str:
    if interval is None:
        return ""
    half = "" if interval.half_width is None else f" ± {interval.half_width:.1f}"
    return f"{interval.mean:{sign}.1f}{half}"
