"""The frontier as data, as a page of tables and as a picture."""

import datetime
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from frontier_arms import ARMS
from moments_results import machine

from feasible_jax.evaluation.intervals import mean_interval

matplotlib.use("agg")

import matplotlib.pyplot as plt
from dot_rows import style_rows
from matplotlib.axes import Axes

Row = dict[str, Any]

SCENARIOS = ("random", "corrupted_labels", "class")
TITLES = {
    "random": "Random tenth",
    "corrupted_labels": "Corrupted labels",
    "class": "One class",
    "gradient_ascent": "gradient ascent",
    "neg_grad_plus": "NegGrad+",
    "random_labels": "random labels",
}
_COLUMNS: tuple[tuple[str, Callable[[Row], float | None], int], ...] = (
    ("Forget acc.", lambda row: row["forget_accuracy"], 1),
    ("RA", lambda row: row["retain_accuracy"], 1),
    ("TA", lambda row: row["test_accuracy"], 1),
    ("MIA", lambda row: row["mia_svc"], 1),
    ("MIA AUC", lambda row: row["mia_auc"], 3),
    ("Forget loss", lambda row: row["forget_loss"], 2),
    ("KS to retrained", lambda row: row["forget_loss_ks"], 2),
    ("Steps", lambda row: row.get("steps"), 0),
    ("Seconds", lambda row: row["took"], 0),
)


def write(data: dict[str, Any], results: Path, table: Path, plot: Path) -> None:
    """Write all three, each aside first and then renamed."""
    order = [*ARMS]
    rows = sorted(
        data["rows"],
        key=lambda row: (row["method"], row["scenario"], _place(order, row["arm"]), row["seed"]),
    )
    today = datetime.date.today().isoformat()
    data = {"machine": machine(), "date": today} | data | {"rows": rows}
    _write(results, json.dumps(data, indent=1))
    _write(table, _page(data))
    _picture(rows, plot)


def read(results: Path, limits: dict[str, int]) -> dict[str, Any]:
    """What an earlier run with the same limits wrote, nothing where there was none."""
    if not results.exists():
        return {}
    data = json.loads(results.read_text())
    return data if data["limits"] == limits else {}


def _page(data: dict[str, Any]) -> str:
    limits = data["limits"]
    times = {(time["method"], time["arm"]): time["seconds"] for time in data["step_seconds"]}
    rows = [row | {"took": _took(row, times)} for row in data["rows"]]
    lines = [
        "<!-- Made by benchmarks/frontier.py; do not edit. -->",
        "# Utility when forgetting is done, measured",
        "",
        "Fashion-MNIST, 6,000 training images, the built-in CNN. Each arm runs, with batches of "
        f"{limits['batch_size']}, until the forget accuracy is at most half a point above the "
        f"retrained model's, looked at every {limits['check_every']} steps, or for "
        f"{limits['steps']} steps. Each chose among four settings on validation data with the "
        "first seed; certified arms took over the setting of the arm that they certify. Means over "
        "seeds, with 95% Student intervals. What averages evidence over time gathers it for "
        f"{limits['warmup_steps']} steps first. Seconds are the steps times the time of one of "
        "them, compiled, without looks. "
        "[How to read the columns](yardsticks.md).",
        "",
        f"Measured on {data['date']}, {data['machine']['cpu']}, {data['machine']['cores']} cores, "
        f"JAX {data['machine']['packages']['jax']}: `python benchmarks/frontier.py`.",
        "",
        "![What is left of test accuracy, by method, scenario and mask](_static/frontier.svg)",
    ]
    for method, scenario in _cells(rows):
        lines += [
            "",
            f"## {TITLES[scenario]}, {TITLES[method]}",
            "",
            *_table(rows, method, scenario),
        ]
    return "\n".join(lines) + "\n"


def _took(row: Row, times: dict[tuple[str, str], float]) -> float | None:
    seconds = times.get((row["method"], row["arm"]))
    return None if seconds is None else seconds * row["steps"]


def _table(rows: list[Row], method: str, scenario: str) -> list[str]:
    head = ["Mask", "Reached", *(name for name, _, _ in _COLUMNS)]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " --: |" * (len(head) - 1)]
    groups = _groups(rows, method, scenario)
    seeds = {row["seed"] for found in groups.values() for row in found}
    for role in ("original", "retrained"):
        found = [r for r in rows if (r["method"], r["scenario"]) == (role, scenario)]
        groups = {role: [r for r in found if r["seed"] in seeds]} | groups
    for name in ("original", "retrained", *(arm for arm in ARMS if arm in groups)):
        found = groups[name]
        if not found:
            continue
        reached = "" if name in ("original", "retrained") else _reached(found)
        cells = [_cell([value(row) for row in found], digits) for _, value, digits in _COLUMNS]
        lines.append("| " + " | ".join([found[0]["label"], reached, *cells]) + " |")
    return lines


def _reached(rows: list[Row]) -> str:
    diverged = sum(not row.get("finite", True) for row in rows)
    note = f", {diverged} diverged" if diverged else ""
    return f"{sum(row['reached'] for row in rows)} of {len(rows)}{note}"


def _cell(values: list[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    interval = mean_interval(known)
    half = "" if interval.half_width is None else f" ± {interval.half_width:.{digits}f}"
    return f"{interval.mean:.{digits}f}{half}"


def _picture(rows: list[Row], path: Path) -> None:
    cells = _cells(rows)
    methods = list(dict.fromkeys(method for method, _ in cells))
    scenarios = [s for s in SCENARIOS if s in dict(map(reversed, cells))]
    figure, grid = plt.subplots(
        len(methods), len(scenarios), squeeze=False, sharey=True, layout="constrained",
        figsize=(1.5 + 3 * len(scenarios), 0.6 + 2.6 * len(methods)),
    )  # fmt: skip
    for line, method in zip(grid, methods, strict=True):
        for ax, scenario in zip(line, scenarios, strict=True):
            _panel(ax, rows, method, scenario)
    for ax in grid[-1]:
        ax.set_xlabel("test accuracy then, %", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{os.getpid()}-{path.name}")
    figure.savefig(aside)
    plt.close(figure)
    aside.replace(path)


def _panel(ax: Axes, rows: list[Row], method: str, scenario: str) -> None:
    ax.set_title(f"{TITLES[scenario]}, {TITLES[method]}", fontsize=9, loc="left")
    groups = _groups(rows, method, scenario)
    for role, style in (("retrained", "-"), ("original", ":")):
        values = [
            r["test_accuracy"] for r in rows if (r["method"], r["scenario"]) == (role, scenario)
        ]
        if values:
            ax.axvline(sum(values) / len(values), color="0.4", linestyle=style, linewidth=1)
    for place, arm in enumerate(ARMS):
        for row in groups.get(arm, ()):
            done = row["reached"]
            colour = "#0072b2" if done else "#d55e00"
            ax.plot(
                row["test_accuracy"], place, "o", markersize=5, markeredgecolor=colour,
                markerfacecolor=colour if done else "white",
            )  # fmt: skip
            if not done and row["seed"] == 0:
                ax.annotate(
                    f"forget {row['forget_accuracy']:.0f}", (row["test_accuracy"], place),
                    xytext=(-6, 0), textcoords="offset points", fontsize=6, ha="right", va="center",
                    color=colour,
                )  # fmt: skip
    style_rows(ax, [arm.label for arm in ARMS.values()])
    ax.set_xlim(0, 100)


def _groups(rows: list[Row], method: str, scenario: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if (row["method"], row["scenario"]) == (method, scenario):
            groups.setdefault(row["arm"], []).append(row)
    return groups


def _cells(rows: list[Row]) -> list[tuple[str, str]]:
    found = {(row["method"], row["scenario"]) for row in rows if row["arm"] != "reference"}
    return [
        (method, scenario)
        for method in ("gradient_ascent", "neg_grad_plus", "random_labels")
        for scenario in SCENARIOS
        if (method, scenario) in found
    ]


def _place(order: list[str], arm: str) -> int:
    return order.index(arm) if arm in order else -1


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{os.getpid()}-{path.name}")
    aside.write_text(text)
    aside.replace(path)
