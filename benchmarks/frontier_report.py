"""The frontier as data, as a page of tables and as a picture."""

import datetime
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from frontier_arms import ARMS, LEARNING_RATES
from moments_results import machine

from feasible_jax.evaluation.intervals import mean_interval

matplotlib.use("agg")

import matplotlib.pyplot as plt
from dot_rows import style_rows
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

Row = dict[str, Any]

# Of a whole benchmark.
_SEEDS = 5
SCENARIOS = ("random", "corrupted_labels", "class")
TITLES = {
    "random": "Random tenth",
    "corrupted_labels": "Corrupted labels",
    "class": "One class",
    "gradient_ascent": "gradient ascent",
    "neg_grad_plus": "NegGrad+",
    "random_labels": "random labels",
}
_FELL = "TA fell \N{LESS-THAN OR EQUAL TO}"
_COLUMNS: tuple[tuple[str, Callable[[Row], float | None], int], ...] = (
    ("Forget acc.", lambda row: row["forget_accuracy"], 1),
    ("RA", lambda row: row["retain_accuracy"], 1),
    ("TA", lambda row: row["test_accuracy"], 1),
    (_FELL, lambda row: row.get("test_accuracy_fall_bound"), 1),
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
    _write(table, page(data))
    _picture(rows, plot)


def read(results: Path, about: dict[str, Any]) -> dict[str, Any]:
    """What an earlier run wrote, nothing where there was none.

    Raises:
      ValueError: if it ran with other limits or settings: its rows would be lost.
    """
    if not results.exists():
        return {}
    data = json.loads(results.read_text())
    for name, value in json.loads(json.dumps(about)).items():
        if data[name] != value:
            raise ValueError(
                f"{results} holds rows with other {name}, {data[name]}, not {value}: give another "
                "--results, or move it away."
            )
    return data


def page(data: dict[str, Any]) -> str:
    """The page of tables."""
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
        f"{limits['steps']} steps: where it was not reached, forget accuracy has to be read beside "
        "the others. Each arm chose among four settings with the first seed, by validation "
        "accuracy less the points by which forget accuracy lay above the retrained model's; "
        "certified arms took over the setting of the arm that they certify. The ranges of the "
        "settings with a price, and of those without one for NegGrad+, among which is the weight "
        "of the retain set, were found on another division of the data (seed 100); all others are "
        "powers of about 3 around the rate at which the plain method forgets within some hundred "
        "steps. Means over seeds, with 95% Student intervals. What averages evidence over time "
        f"gathers it for {limits['warmup_steps']} steps first; the random mask is as dense as the "
        "coordinatewise one. At the priced mask's largest steps the learning rate then rises over "
        "50 steps. Two things were changed after a look at a first version of these runs: this "
        "rise, for one of the five seeds of gradient ascent had lost a fifth of its retain "
        "accuracy within five steps (checked on another seed, 101), and the weight of the retain "
        "set, for without it NegGrad+ broke under all arms without a price. "
        "Seconds are the steps times those of one step, compiled, without looks, of each arm with "
        "its first scenario and seed. Soft masks are in "
        "[what makes a priced mask forget faster](speed_benchmark.md). "
        f"{_FELL} is the largest, over seeds, of the bounds on the fall of test accuracy in "
        "points, each with 95% confidence (non-inferiority). "
        "[How to read the columns](yardsticks.md).",
        "",
        f"Measured on {data['date']}, {data['machine']['cpu']}, {data['machine']['cores']} cores, "
        f"JAX {data['machine']['packages']['jax']}: `python benchmarks/frontier.py`."
        f"{_missing(rows)}",
        "",
        "![What is left of test accuracy, by method, scenario and mask](_static/frontier.svg)",
    ]
    for method, scenario in _cells(rows):
        lines += [
            "",
            f"## {TITLES[scenario]}, {TITLES[method]}",
            "",
            *_table(rows, method, scenario),
            *_stops(rows, method, scenario),
        ]
    return "\n".join(lines) + "\n"


def _missing(rows: list[Row]) -> str:
    done = sum(row["arm"] != "reference" for row in rows)
    wanted = len(LEARNING_RATES) * len(SCENARIOS) * len(ARMS) * _SEEDS
    return "" if done >= wanted else f" Of {wanted} runs {done} are done so far."


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
        cells = [
            _cell([value(row) for row in found], digits, largest=head == _FELL)
            for head, value, digits in _COLUMNS
        ]
        lines.append("| " + " | ".join([found[0]["label"], reached, *cells]) + " |")
    return lines


def _stops(rows: list[Row], method: str, scenario: str) -> list[str]:
    """Which runs ended early for want of a direction."""
    found = [
        f"{row['label']}, seed {row['seed']}, after {row['steps']} steps: {row['stop']}."
        for row in rows
        if (row["method"], row["scenario"]) == (method, scenario)
        and (row.get("stop") or "").startswith("no feasible direction")
    ]
    return ["", "Ended early: " + " ".join(found)] if found else []


def _reached(rows: list[Row]) -> str:
    diverged = sum(not row.get("finite", True) for row in rows)
    note = f", {diverged} diverged" if diverged else ""
    return f"{sum(row['reached'] for row in rows)} of {len(rows)}{note}"


def _cell(values: list[float | None], digits: int, largest: bool = False) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    if largest:  # of bounds, the mean bounds nothing
        return f"{max(known):.{digits}f}"
    interval = mean_interval(known)
    half = "" if interval.half_width is None else f" ± {interval.half_width:.{digits}f}"
    return f"{interval.mean:.{digits}f}{half}"


def _picture(rows: list[Row], path: Path) -> None:
    cells = _cells(rows)
    methods = list(dict.fromkeys(method for method, _ in cells))
    scenarios = [s for s in SCENARIOS if s in dict(map(reversed, cells))]
    figure, grid = plt.subplots(
        len(methods), len(scenarios), squeeze=False, sharey=True, layout="constrained",
        figsize=(1.5 + 3 * len(scenarios), 0.9 + 2.6 * len(methods)),
    )  # fmt: skip
    for line, method in zip(grid, methods, strict=True):
        for ax, scenario in zip(line, scenarios, strict=True):
            _panel(ax, rows, method, scenario)
    for ax in grid[-1]:
        ax.set_xlabel("test accuracy then, %", fontsize=8)
    figure.legend(handles=_KEY, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{os.getpid()}-{path.name}")
    figure.savefig(aside)
    plt.close(figure)
    aside.replace(path)


_REACHED, _NOT, _LEAST = "#0072b2", "#d55e00", 50
_KEY = [
    Line2D([], [], marker="o", linestyle="", color=_REACHED,
           label="a seed that forgot as much as the retrained model"),
    Line2D([], [], marker="o", linestyle="", color=_NOT, markerfacecolor="white",
           label="a seed that did not; on the right, what forget accuracy it ended with"),
    Line2D([], [], marker="<", linestyle="", color="0.4", markerfacecolor="white",
           label=f"test accuracy of {_LEAST} or less"),
    Line2D([], [], color="0.4", linestyle="-", linewidth=1, label="retrained model"),
    Line2D([], [], color="0.4", linestyle=":", linewidth=1, label="original model"),
]  # fmt: skip


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
        found = groups.get(arm, [])
        for row in found:
            colour, accuracy = _REACHED if row["reached"] else _NOT, row["test_accuracy"]
            ax.plot(
                max(accuracy, _LEAST), place, "o" if accuracy >= _LEAST else "<", markersize=5,
                markeredgecolor=colour, markerfacecolor=colour if row["reached"] else "white",
                clip_on=False,
            )  # fmt: skip
        late = [row["forget_accuracy"] for row in found if not row["reached"]]
        if late:
            ax.text(
                1.02, place, f"{sum(late) / len(late):.0f}", color=_NOT, fontsize=7, va="center",
                transform=ax.get_yaxis_transform(),
            )  # fmt: skip
    style_rows(ax, [arm.label for arm in ARMS.values()])
    ax.set_xlim(_LEAST, 92)


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
