"""Do the tests hold their level, and do the rules hold what they say? Size, power, violations.

    python benchmarks/calibration.py --out calibration.json --cache calibration_cache
    python benchmarks/calibration.py --out calibration.json --cache calibration_cache --resume
    python benchmarks/calibration.py --report calibration.json --table t.md --plot p.svg

Four kinds of parts: every test of a mean on synthetic populations; the same on the changes that
real updates make to the retain set of a CNN on Fashion-MNIST; the share of harmful updates among
those that each selection rule applies, with and without a certificate; and whole runs. Nothing here
is a time, so the machine may be busy.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import calibration_real
import calibration_results
import calibration_rules
import calibration_runs
import calibration_tests
import numpy as np
import tyro
from calibration_plot import write_plot
from calibration_populations import POPULATIONS, Population
from calibration_proposals import RULES
from calibration_report import markdown
from calibration_summary import summary
from calibration_task import BASES, Setting
from rich.progress import Progress

KINDS = ("synthetic", "real", "rules", "runs")


@dataclass
class Options:
    """What to measure and where to write it."""

    kinds: tuple[str, ...] = KINDS
    """The kinds of parts."""
    batch_sizes: tuple[int, ...] = (32, 64, 128, 256, 1024)
    """Of the synthetic populations."""
    draws: int = 10_000
    """Batches of a synthetic population."""
    real_draws: int = 2_000
    """Batches of a real one."""
    real_batch_sizes: tuple[int, ...] = (32, 64, 128, 256, 1024)
    """Of the real populations."""
    bootstrap_draws: int = 2_000
    """How many of both the bootstrap sees."""
    scenarios: tuple[str, ...] = ("random", "corrupted_labels", "class")
    """Of the real populations; rules and runs take the first."""
    points: tuple[int, ...] = (0, 50, 100, 200)
    """Steps of a real run at which updates are looked at."""
    rules: tuple[str, ...] = tuple(RULES)
    """The selection rules."""
    arms: tuple[str, ...] = tuple(calibration_runs.ARMS)
    """The arms of whole runs."""
    bases: tuple[str, ...] = tuple(BASES)
    """The base methods of real populations and of runs."""
    rule_bases: tuple[str, ...] = ("gradient ascent", "NegGrad+")
    """The base methods whose updates the rules select from."""
    rule_draws: int = 500
    """Draws of batches at each point for the rules."""
    loss_draws: int = 100
    """For how many of them the true change of the loss is taken where there is no certificate."""
    run_steps: int = 60
    """Steps of the whole runs."""
    cache: Path = Path("calibration_cache")
    """A folder for trained models."""
    out: Path = Path("calibration.json")
    """The results, written after every part."""
    resume: bool = False
    """Continue what --out holds."""
    smoke: bool = False
    """A tiny network on digits and a few draws, to see that everything runs."""
    table: Path | None = None
    """Write the page with all tables here."""
    summary: Path | None = None
    """Write the table of the main figures here."""
    plot: Path | None = None
    """Write a picture here, its format by the suffix."""
    report: Path | None = None
    """Measure nothing: render these results."""


_SMOKE = {
    "batch_sizes": (64,), "real_batch_sizes": (64,), "scenarios": ("random",), "points": (0, 2),
    "draws": 40, "real_draws": 20, "bootstrap_draws": 10, "rule_draws": 2, "loss_draws": 1,
    "rules": ("no mask", "coordinatewise"), "arms": ("coordinatewise, certified",),
    "bases": ("gradient ascent",), "rule_bases": ("gradient ascent",), "run_steps": 3,
}  # fmt: skip

Part = tuple[str, Callable[[], list[dict[str, Any]]]]


def parts(options: Options) -> Iterator[Part]:
    """Every part's name, and what measures it."""
    setting = Setting(options.cache, options.points, options.smoke)
    if "synthetic" in options.kinds:
        for population in POPULATIONS:
            yield f"synthetic/{population.name}", lambda p=population: synthetic(options, p)
    for scenario in options.scenarios if "real" in options.kinds else ():
        for base in options.bases:
            yield (
                f"real/{scenario}/{base}",
                lambda s=scenario, b=base: calibration_real.cells(
                    setting,
                    s,
                    b,
                    options.real_batch_sizes,
                    options.real_draws,
                    options.bootstrap_draws,
                ),
            )
    scenario = options.scenarios[0]
    for step in options.points if "rules" in options.kinds else ():
        for base in options.rule_bases:
            yield (
                f"rules/{scenario}/{base}/{step}",
                lambda b=base, s=step: calibration_rules.cells(
                    setting, scenario, b, s, options.rules, options.rule_draws, options.loss_draws
                ),
            )
    for arm in options.arms if "runs" in options.kinds else ():
        for base in options.bases:
            yield (
                f"runs/{scenario}/{base}/{arm}",
                lambda b=base, a=arm: [
                    calibration_runs.cell(setting, scenario, b, a, options.run_steps)
                ],
            )


def synthetic(options: Options, population: Population) -> list[dict[str, Any]]:
    """The cells of one population at every batch size."""
    rows = []
    for size in options.batch_sizes:
        rng = np.random.default_rng(size)
        found = calibration_tests.cells(
            lambda count, size=size, rng=rng: population.draw(rng, (count, size)),
            size, population.worst, options.draws, options.bootstrap_draws,
        )  # fmt: skip
        rows += [{"population": population.name} | row for row in found]
    return rows


def measure(options: Options) -> calibration_results.Results:
    """Every part that the results do not have yet."""
    settings = {name: getattr(options, name) for name in _SMOKE} | {"smoke": options.smoke}
    results = calibration_results.start(options.out, options.resume, settings)
    missing = [(name, run) for name, run in parts(options) if name not in results["parts"]]
    with Progress() as progress:
        task = progress.add_task("", total=len(missing))
        for name, run in missing:
            progress.update(task, description=name)
            start = time.perf_counter()
            results["parts"][name] = run()
            results["seconds"][name] = round(time.perf_counter() - start, 1)
            calibration_results.write(results, options.out)
            progress.console.print(f"{name}: {results['seconds'][name]} s", highlight=False)
            progress.advance(task)
    return results


def main(args: Sequence[str] | None = None) -> None:
    """Measure or read, then render."""
    options = tyro.cli(Options, args=args, description=__doc__)
    if options.smoke:
        for name, value in _SMOKE.items():
            setattr(options, name, value)
    for kind in options.kinds:
        if kind not in KINDS:
            raise SystemExit(f"There is no kind {kind!r}: choose from {', '.join(KINDS)}.")
    if options.report is None:
        results = measure(options)
    else:
        results = calibration_results.read(options.report)
    if options.table is not None:
        options.table.write_text(markdown(results))
    if options.summary is not None:
        options.summary.write_text(summary(results))
    if options.plot is not None:
        write_plot(results, options.plot)


if __name__ == "__main__":
    main()
