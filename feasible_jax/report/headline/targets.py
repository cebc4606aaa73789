"""What the headline aims at, and whether it was reached."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from feasible_jax.evaluation import mean_interval
from feasible_jax.report.groups import PLAIN, REFERENCES
from feasible_jax.report.headline.gains import (
    Gain,
    arms_of,
    by_data,
    configuration_of,
    gains,
    over_configurations,
    utility_fall_of,
    verdicts,
)
from feasible_jax.report.headline.text_table import TextTable

Rows = Sequence[dict[str, Any]]

# Points of unlearning accuracy gained, as the seed paper claims; of test accuracy lost; of Avg. Gap
# in random forgetting, just under the best published; run times over plain, and in percent of
# retraining.
_GAIN, _LOSS, _GAP, _COST, _SHARE = 12.3, 0.5, 1.5, 2.0, 10.0


def target_table(closest: Rows, equal_utility: Rows) -> TextTable:
    """A row for each target, a column for each masked arm: what was found, and met or missed.

    Args:
      closest: see ``headline_tables``.
      equal_utility: likewise.

    >>> target_table([], []).rows
    ()
    """
    by_arm = arms_of(gains(equal_utility, "unlearning_accuracy"))
    arms = list(by_arm)
    finders = (
        (f"UA gained at equal utility: at least {_GAIN}", lambda a: _gain(by_arm[a])),
        (f"Test accuracy lost: under {_LOSS}", lambda a: _lost(equal_utility, a)),
        ("Configurations made worse, UA or Avg. Gap: none", lambda a: _worse(by_arm[a], closest)),
        (
            f"Avg. Gap of the best method, random forgetting: at most {_GAP}",
            lambda a: _gap(closest, a),
        ),
        (f"Run time over the plain form: at most {_COST:g}", lambda a: _cost(closest, a)),
        (f"Run kept, of retraining: at most {_SHARE:g}%", lambda a: _share(closest, a)),
    )
    rows = [(aim, *(find(arm) for arm in arms)) for aim, find in finders] if arms else []
    return TextTable(
        "Targets",
        "What this suite is to show. Controls are judged likewise. Gaps and costs are those of "
        "each dataset and model, made worse are those by UA and by Avg. Gap.",
        ("Target", *arms),
        tuple(rows),
    )


def _gain(some: list[Gain]) -> str:
    interval = over_configurations(some)
    return "" if interval is None else _judged(f"{interval.mean:+.1f}", interval.mean >= _GAIN)


def _lost(equal_utility: Rows, arm: str) -> str:
    falls: dict[tuple, list[float]] = {}
    for row in _of(equal_utility, arm):
        fall = utility_fall_of(row)
        if fall is not None:
            falls.setdefault(configuration_of(row), []).append(fall)
    if not falls:
        return ""
    mean = mean_interval([sum(some) / len(some) for some in falls.values()]).mean
    return _judged(f"{mean:+.2f}", mean < _LOSS)


def _worse(forgotten: list[Gain], closest: Rows) -> str:
    gaps = arms_of(gains(closest, "avg_gap")).get(forgotten[0].arm, [])
    closer = [g._replace(by_seed={s: -d for s, d in g.by_seed.items()}) for g in gaps]
    counts = [verdicts(some).worse for some in (forgotten, closer)]
    return _judged(" and ".join(map(str, counts)), not any(counts))


def _gap(closest: Rows, arm: str) -> str:
    known = [
        row
        for row in _of(closest, arm)
        if row["scenario"] == "random" and row.get("avg_gap") is not None
    ]
    return _at_most(_GAP, map(_best_gap, by_data(known).values()), "{:.2f}")


def _best_gap(rows: Rows) -> float:
    by_method: dict[str, list[float]] = {}
    for row in rows:
        by_method.setdefault(row["method"], []).append(row["avg_gap"])
    return min(sum(some) / len(some) for some in by_method.values())


def _cost(closest: Rows, arm: str) -> str:
    plain = {
        (configuration_of(row), row["seed"]): row["run_seconds"]
        for row in _of(closest, PLAIN)
        if row.get("run_seconds")
    }
    paired = [
        row
        for row in _of(closest, arm)
        if row.get("run_seconds") and (configuration_of(row), row["seed"]) in plain
    ]
    medians = (
        median(row["run_seconds"] / plain[configuration_of(row), row["seed"]] for row in rows)
        for rows in by_data(paired).values()
    )
    return _at_most(_COST, medians, "{:.2f}")


def _share(closest: Rows, arm: str) -> str:
    known = [row for row in _of(closest, arm) if row.get("rte_ratio")]
    medians = (median(100 * row["rte_ratio"] for row in rows) for rows in by_data(known).values())
    return _at_most(_SHARE, medians, "{:.1f}%")


def _at_most(aim: float, on_data: Iterable[float], form: str) -> str:
    """A figure for each dataset and model, all of which are to be as small as that."""
    found = list(on_data)
    shown = " and ".join(map(form.format, found))
    return _judged(shown, max(found) <= aim) if found else ""


def _of(rows: Rows, arm: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["arm"] == arm and row["method"] not in REFERENCES]


def _judged(found: str, met: bool) -> str:
    return f"{found}, {'met' if met else 'missed'}"
