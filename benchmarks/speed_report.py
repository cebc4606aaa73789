"""What makes a priced mask faster, as data and as a page with a table."""

import datetime
import json
from pathlib import Path
from typing import Any

from moments_results import machine

from feasible_jax.evaluation.intervals import mean_interval
from feasible_jax.unlearning.files import write_atomically

Row = dict[str, Any]
_COLUMNS = (
    ("Forget", "forget"),
    ("Retain", "retain"),
    ("Test", "test"),
    ("Test fell by at most", "test_accuracy_fall_bound"),
    ("Forget at equal utility", "useful_forget"),
    ("Certified", "accepted"),
)


def write(rows: list[Row], limits: dict[str, Any], results: Path, table: Path) -> None:
    """Write both, each aside first and then renamed."""
    data = {
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
        "limits": limits,
        "rows": rows,
    }
    for path, text in ((results, json.dumps(data, indent=1) + "\n"), (table, page(data))):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())


def page(data: dict[str, Any]) -> str:
    """The docs page of those results."""
    limits, groups = data["limits"], _groups(data["rows"])
    seeds = max((len(rows) for rows in groups.values()), default=0)
    lines = [
        "<!-- Made by benchmarks/speed.py; do not edit. -->",
        "# What makes a priced mask forget faster",
        "",
        "`coordinatewise(curvature=...)` keeps utility, and forgets slowly. Here gradient ascent "
        "forgets a random tenth of Fashion-MNIST (6,000 training images, the built-in CNN) in "
        f"{limits['steps']} steps with batches of {limits['batch_size']}, tests at a confidence "
        f"of {limits['confidence']:g} and a price of 1000 where none is named; each row says what "
        "it changes. Accuracies in percent after all steps, and the lowest forget accuracy at a "
        "look whose validation accuracy lies at most half a point below the original model's. "
        f"Certificates have a tolerance of {limits['tolerance']:g} nats a step. Means over "
        f"{seeds} seeds, with 95% Student intervals; *Test fell by at most* is the largest, over "
        "seeds, of the 95% bounds on the fall of test accuracy in points "
        "(`non_inferiority()`). No row was chosen by its outcome here; those with a warm-up were "
        "found on another division of the data (seed 100). That the learning rate rises was added "
        "after one of five seeds of [the frontier](frontier_benchmark.md) had collapsed without.",
        "",
        f"Measured on {data['date']}, {data['machine']['cpu']}, "
        f"{_cores(data['machine']['cores'])}, "
        f"JAX {data['machine']['packages']['jax']}: `python benchmarks/speed.py`.",
        "",
        "| Variant | " + " | ".join(head for head, _ in _COLUMNS) + " |",
        "| --- |" + " ---: |" * len(_COLUMNS),
    ]
    for rows in groups.values():
        cells = [_cell(rows, name) for _, name in _COLUMNS]
        ended = sum(row.get("stop") is not None for row in rows)
        note = f" ({ended} of {len(rows)} ended early)" if ended else ""
        lines.append("| " + " | ".join([rows[0]["label"] + note, *cells]) + " |")
    return "\n".join(lines) + "\n"


def _cores(number: int) -> str:
    return f"{number} core" + "s" * (number != 1)


def _groups(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows by variant, the reference models first."""
    groups: dict[str, list[Row]] = {"original": [], "retrained": []}
    for row in rows:
        groups.setdefault(row["variant"], []).append(row)
    return {name: some for name, some in groups.items() if some}


def _cell(rows: list[Row], name: str) -> str:
    known = [row[name] for row in rows if row.get(name) is not None]
    if not known:
        return ""
    if name == "test_accuracy_fall_bound":
        return f"{max(known):.1f}"
    scale = 100 if name == "accepted" else 1
    interval = mean_interval([scale * value for value in known])
    half = "" if interval.half_width is None else f" ± {interval.half_width:.1f}"
    return f"{interval.mean:.1f}{half}"
