"""Utility when forgetting is done: masks with and without a price and a certificate.

    python benchmarks/frontier.py --folder frontier
    python benchmarks/frontier.py --folder frontier --time
    python benchmarks/frontier.py --folder frontier --report-only
    python benchmarks/frontier.py --folder /tmp/smoke --smoke

Each arm runs on Fashion-MNIST until the forget accuracy is the retrained model's; the table says
what is left of retain and test accuracy then. Every arm chooses among as many settings with the
first seed, by validation accuracy less the points of forget accuracy still above the retrained
model's; certified arms take over the setting of the arm they certify. Finished cells and
trained models are kept in the folder, finished cells in the results too, and a run that was stopped
goes on where it was. Steps are timed by themselves, one arm after the other and all of them three
times over, so that an idle machine is needed for a few minutes only.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import frontier_report
import tyro
from frontier_arms import ARMS, LEARNING_RATES, Setting
from frontier_trial import Trial, final_row, forget_losses, run_trial, step_seconds
from rich.progress import Progress, track

from feasible_jax.experiments.build_task import build_task
from feasible_jax.experiments.config import TaskConfig, preset
from feasible_jax.experiments.ledger import Ledger, plain
from feasible_jax.unlearning.task import Task

_HERE = Path(__file__).parent
# How often every step is timed.
_ROUNDS = 3
_WHERE = ("scenario", "seed", "method", "arm")


@dataclass(frozen=True)
class Limits:
    """How long a run may take."""

    steps: int = 1000
    """Steps of a run at most."""
    check_every: int = 5
    """Steps between two looks at the forget accuracy, of which the first at the target ends it."""
    look_every: int = 50
    """Steps between two looks at all accuracies, a multiple of the former."""
    batch_size: int = 128
    """Examples drawn from each set at a step."""
    warmup_steps: int = 20
    """Steps in which an arm moves nothing, where it averages evidence over time."""


@dataclass(frozen=True)
class Options:
    """What to run and where to keep it."""

    folder: Path = Path("frontier")
    """Finished cells and trained models."""
    scenarios: tuple[str, ...] = ("random", "corrupted_labels", "class")
    """What is to be forgotten."""
    methods: tuple[str, ...] = tuple(LEARNING_RATES)
    """Base methods."""
    arms: tuple[str, ...] = tuple(ARMS)
    """Masks, in the order in which they run."""
    seeds: int = 5
    """Seeds; each draws its own division, initial parameters and batches."""
    limits: Limits = Limits()
    smoke: bool = False
    """A few steps on a few digits, to see that everything runs."""
    time: bool = False
    """Run nothing; time a step of every finished arm with the setting it chose."""
    report_only: bool = False
    """Run nothing; write the table and the picture of what is finished."""
    results: Path = _HERE / "results" / "frontier.json"
    """The rows of all finished cells."""
    table: Path = _HERE.parent / "docs" / "frontier_benchmark.md"
    """A page of tables."""
    plot: Path = _HERE.parent / "docs" / "_static" / "frontier.svg"
    """A picture."""


def main(options: Options) -> None:
    """Run what is missing, then report all there is."""
    known = {"scenarios": frontier_report.SCENARIOS, "methods": LEARNING_RATES, "arms": ARMS}
    for name, all_of_them in known.items():
        for one in getattr(options, name):
            if one not in all_of_them:
                choices = ", ".join(map(repr, all_of_them))
                raise ValueError(f"{name} names {one!r}: choose from {choices}.")
    config, limits = preset("fashion_mnist").task, options.limits
    if options.smoke:
        config = TaskConfig(train_size=150, validation_size=50, test_size=50, epochs=3)
        limits = Limits(steps=4, check_every=1, look_every=2, batch_size=8, warmup_steps=1)
    ledger = Ledger(options.folder, {"task": plain(config), "limits": plain(limits)})
    cells = [
        (seed, scenario, method, arm)
        for method in options.methods
        for seed in range(1 if options.smoke else options.seeds)
        for scenario in options.scenarios
        for arm in options.arms
    ]
    settings = {
        method: {name: [list(s) for s in arm.settings_of(method)] for name, arm in ARMS.items()}
        for method in LEARNING_RATES
    }
    about = {"limits": plain(limits), "rates": LEARNING_RATES, "settings": settings}
    before = {} if options.smoke else frontier_report.read(options.results, about)
    for row in before.get("rows", []):
        # What another machine has finished is finished here too.
        ledger.cell(_name(*(row[k] for k in _WHERE)), lambda row=row: row)
    times = before.get("step_seconds", [])
    if options.time:
        times = _step_seconds(ledger, config, limits, cells)
    elif not options.report_only:
        with Progress() as progress:
            bar = progress.add_task("frontier", total=len(cells))
            for cell in cells:
                progress.update(bar, description=", ".join(map(str, cell)))
                _run_cell(ledger, config, limits, *cell)
                progress.advance(bar)
    rows = [ledger.read(path.stem) for path in sorted((options.folder / "cells").glob("row-*"))]
    data = about | {"step_seconds": times, "rows": rows}
    frontier_report.write(data, options.results, options.table, options.plot)


def _run_cell(
    ledger: Ledger, config: TaskConfig, limits: Limits, seed: int, scenario: str, method: str,
    arm: str,
) -> None:  # fmt: skip
    name = _name(scenario, seed, method, arm)
    if ledger.has(name):
        return
    this = ARMS[arm]
    before = [this.like or arm] if seed > 0 or this.like else []  # whose setting is taken over
    for other in [*before, "coordinatewise"] if arm == "random_mask" else before:
        _run_cell(ledger, config, limits, 0, scenario, method, other)
    task = _task(ledger, config, scenario, seed)
    references = _references(ledger, task, scenario, seed)
    target = references["retrained"]["forget_accuracy"]
    losses = forget_losses(task, task.retrained)
    density = _density(ledger, scenario, method) if arm == "random_mask" else 0.0

    def trial(setting: Setting) -> Trial:
        return run_trial(task, target, method, arm, setting, density, limits, seed)

    def run() -> dict[str, Any]:
        if seed == 0 and this.like is None:
            trials = {setting: trial(setting) for setting in this.settings_of(method)}
            setting, best = max(trials.items(), key=lambda found: found[1].score(target))
        else:
            trials = {}
            like = ledger.read(_name(scenario, 0, method, this.like or arm))
            setting = Setting(**like["setting"])
            best = trial(setting)
        about = _about(best) | {"setting": setting._asdict(), "label": this.label}
        about |= {"search": [s._asdict() | _about(t) for s, t in trials.items()]}
        about |= {"looks": [list(look) for look in best.looks], "target": target}
        where = {"scenario": scenario, "method": method, "arm": arm, "seed": seed}
        return final_row(task, best.params, losses) | where | about

    ledger.cell(name, run)


def _step_seconds(
    ledger: Ledger, config: TaskConfig, limits: Limits, cells: list[tuple[int, str, str, str]]
) -> list[dict[str, Any]]:
    """The median time of a step of every arm, with the setting it chose, of interleaved runs."""
    scenario = cells[0][1]
    cells = [c for c in cells if c[:2] == (0, scenario) and ledger.has(_name(scenario, 0, *c[2:]))]
    task = _task(ledger, config, scenario, 0)
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(_ROUNDS):
        for _, _, method, arm in track(cells, "timing steps"):
            setting = Setting(**ledger.read(_name(scenario, 0, method, arm))["setting"])
            density = _density(ledger, scenario, method) if arm == "random_mask" else 0.0
            seconds = step_seconds(task, method, arm, setting, density, limits)
            found.setdefault((method, arm), []).append(seconds)
    return [
        {"method": method, "arm": arm, "seconds": statistics.median(seconds)}
        for (method, arm), seconds in found.items()
    ]


def _name(scenario: str, seed: int, method: str, arm: str) -> str:
    return f"row-{scenario}-{seed}-{method}-{arm}"


def _about(trial: Trial) -> dict[str, Any]:
    certificates = trial.history.certificates
    accepted = None if certificates is None else float(certificates.accepted.mean())
    kept = trial.history.kept
    moved = kept[kept > 0]  # not while evidence is gathered
    return {
        "reached": trial.reached,
        "finite": trial.finite,
        "steps": trial.looks[-1].step,
        "kept": float(moved.mean()) if moved.size else 0.0,
        "accepted": accepted,
        "validation": trial.looks[-1].validation,
        "forget": trial.looks[-1].forget,
        "stop": trial.stop,
    }


def _density(ledger: Ledger, scenario: str, method: str) -> float:
    """As dense as the coordinatewise mask was with the first seed, in the steps that it moved."""
    name = _name(scenario, 0, method, "coordinatewise")
    return max(round(ledger.read(name)["kept"], 3), 0.001)


_TASKS: dict[tuple[str, int], Task] = {}


def _task(ledger: Ledger, config: TaskConfig, scenario: str, seed: int) -> Task:
    if (scenario, seed) not in _TASKS:

        def trained(role, run, like):
            return ledger.model(f"{scenario}-{seed}-{role}", run, like)

        _TASKS.clear()
        _TASKS[scenario, seed] = build_task(config, scenario, seed, trained=trained).task
    return _TASKS[scenario, seed]


def _references(ledger: Ledger, task: Task, scenario: str, seed: int) -> dict[str, dict[str, Any]]:
    losses = forget_losses(task, task.retrained)
    found = {}
    for role, params in (("original", task.params), ("retrained", task.retrained)):
        where = {"scenario": scenario, "method": role, "arm": "reference", "seed": seed}
        found[role] = ledger.cell(
            _name(scenario, seed, role, "reference"),
            lambda p=params, w=where: w | {"label": w["method"]} | final_row(task, p, losses),
        )
    return found


if __name__ == "__main__":
    main(tyro.cli(Options))
