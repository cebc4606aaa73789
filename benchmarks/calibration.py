"""Do the tests hold their level, and do the rules hold what they say? Size, power, violations.

    python benchmarks/calibration.py --out calibration.json --cache calibration_cache
    python benchmarks/calibration.py --out calibration.json --cache calibration_cache --resume
    python benchmarks/calibration.py --report calibration.json --docs docs

Six kinds of parts: every test of a mean on synthetic populations; the same on the changes that
real updates make to the retain set of a CNN on Fashion-MNIST; on both, what every selection rule
lets pass by itself, and what the default certificate makes of the rest, at every level and size of
a batch; the share of harmful updates among those that each rule applies, with several certificates;
and whole runs. Nothing here is a time, so the machine may be busy.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import calibration_certified
import calibration_levels_plot
import calibration_masks
import calibration_plot
import calibration_real
import calibration_report
import calibration_results
import calibration_rules
import calibration_rules_report
import calibration_runs
import calibration_summary
import calibration_tests
import numpy as np
import tyro
from calibration_populations import POPULATIONS, Population
from calibration_proposals import RULES
from calibration_task import BASES, Point, Setting
from rich.progress import Progress

KINDS = ("synthetic", "real", "masks", "certified", "rules", "runs")


@dataclass
class Options:
    """What to measure and where to write it."""

    kinds: tuple[str, ...] = KINDS
    """The kinds of parts."""
    batch_sizes: tuple[int, ...] = (32, 64, 128, 256, 1024)
    """Of the synthetic populations, and of all that the rules let pass."""
    draws: int = 10_000
    """Batches of a synthetic population."""
    real_draws: int = 2_000
    """Batches of a real one, and of all that the rules let pass."""
    real_batch_sizes: tuple[int, ...] = (32, 64, 128, 256, 1024)
    """Of the real populations."""
    bootstrap_draws: int = 2_000
    """How many of both the bootstrap sees."""
    scenarios: tuple[str, ...] = ("random", "corrupted_labels", "class")
    """Of what is real; rules with several certificates, and runs, take the first."""
    points: tuple[int, ...] = (0, 50, 100, 200)
    """Steps of a real run at which updates are looked at."""
    rules: tuple[str, ...] = tuple(RULES)
    """The selection rules."""
    mask_draws: int = 170
    """Batches at each point of a real run that choose by themselves."""
    updates: int = 50
    """Updates at each point that the certificate is asked about."""
    loss_updates: int = 5
    """Of how many of these the changes of the loss are taken."""
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
    docs: Path | None = None
    """Write the pages here, and their pictures into its folder _static."""
    report: Path | None = None
    """Measure nothing: render these results."""


_SMOKE = {
    "batch_sizes": (64,), "real_batch_sizes": (64,), "scenarios": ("random",), "points": (0, 2),
    "draws": 40, "real_draws": 20, "bootstrap_draws": 10, "rule_draws": 2, "loss_draws": 1,
    "rules": ("no mask", "coordinatewise"), "arms": ("coordinatewise, certified",),
    "mask_draws": 2, "updates": 2, "loss_updates": 1,
    "bases": ("gradient ascent",), "rule_bases": ("gradient ascent",), "run_steps": 3,
}  # fmt: skip

Part = tuple[str, Callable[[], list[dict[str, Any]]]]


def parts(options: Options) -> Iterator[Part]:
    """Every part's name, and what measures it."""
    setting = Setting(options.cache, options.points, options.smoke)
    for kind, of_kind in _PARTS.items():
        if kind in options.kinds:
            for name, run, *args in of_kind(options, setting):
                yield f"{kind}/{name}", partial(run, *args)


def _synthetic(options: Options, setting: Setting) -> Iterator[tuple]:
    for population in POPULATIONS:
        yield population.name, synthetic, options, population


def _real(options: Options, setting: Setting) -> Iterator[tuple]:
    how = options.real_batch_sizes, options.real_draws, options.bootstrap_draws
    for scenario, base in product(options.scenarios, options.bases):
        yield f"{scenario}/{base}", calibration_real.cells, setting, scenario, base, *how


def _masks(options: Options, setting: Setting) -> Iterator[tuple]:
    what = options.rules, options.batch_sizes
    for population in POPULATIONS:
        name, run = f"synthetic/{population.name}", calibration_masks.synthetic_cells
        yield name, run, population, *what, options.real_draws
    for where in product(options.scenarios, options.bases, options.points):
        run = calibration_masks.real_cells
        yield _slashed(where), run, Point(setting, *where), *what, options.mask_draws


def _certified(options: Options, setting: Setting) -> Iterator[tuple]:
    what = options.rules, options.batch_sizes, options.real_draws
    for population in POPULATIONS:
        name, run = f"synthetic/{population.name}", calibration_certified.synthetic_cells
        yield name, run, population, *what
    for where in product(options.scenarios, options.bases, options.points):
        run, how = calibration_certified.real_cells, (options.updates, options.loss_updates)
        yield _slashed(where), run, Point(setting, *where), *what, *how


def _rules(options: Options, setting: Setting) -> Iterator[tuple]:
    scenario, how = options.scenarios[0], (options.rules, options.rule_draws, options.loss_draws)
    for step, base in product(options.points, options.rule_bases):
        where = scenario, base, step
        yield _slashed(where), calibration_rules.cells, Point(setting, *where), *how


def _runs(options: Options, setting: Setting) -> Iterator[tuple]:
    def cells(*where: Any) -> list[dict[str, Any]]:
        return [calibration_runs.cell(setting, *where, options.run_steps)]

    for arm, base in product(options.arms, options.bases):
        where = options.scenarios[0], base, arm
        yield _slashed(where), cells, *where


def _slashed(where: Sequence[Any]) -> str:
    return "/".join(map(str, where))


_PARTS = {
    "synthetic": _synthetic, "real": _real, "masks": _masks, "certified": _certified,
    "rules": _rules, "runs": _runs,
}  # fmt: skip


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


_PAGES = {
    "calibration_benchmark.md": calibration_report.markdown,
    "calibration_rules_benchmark.md": calibration_rules_report.markdown,
    "calibration_summary.md": calibration_summary.summary,
}
_PICTURES = {
    "calibration.svg": calibration_plot.write_plot,
    "calibration_rules.svg": calibration_levels_plot.write_plot,
}


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
    if options.docs is not None:
        _render(results, options.docs)


def _render(results: calibration_results.Results, docs: Path) -> None:
    (docs / "_static").mkdir(parents=True, exist_ok=True)
    for name, make in _PAGES.items():
        (docs / name).write_text(make(results))
    for name, make in _PICTURES.items():
        make(results, docs / "_static" / name)


if __name__ == "__main__":
    main()
