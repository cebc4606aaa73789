"""What a step costs: whole steps, the transformation alone, the rules, and what a mesh adds.

    python benchmarks/step.py
    python benchmarks/step.py --resume
    python benchmarks/step.py --report-only
    python benchmarks/step.py --smoke --results /tmp/step.json --table /tmp/step.md

Every ratio is between calls timed in turn in one process. Run it on a machine that does nothing
else. What a mesh adds is counted in compiled programs and may run anywhere. On a GPU or TPU the
same script says how much of the memory's bandwidth is reached.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import calibration_results
import moments_models
import step_rules
import step_scaling
import step_transformation
import step_whole
import tyro
from rich.progress import Progress
from step_chips import device
from step_report import markdown

KINDS = ("whole", "transformation", "rules", "scaling")
_HERE = Path(__file__).parent


@dataclass
class Options:
    """What to measure and where to write it."""

    kinds: tuple[str, ...] = KINDS
    """The kinds of parts."""
    models: tuple[str, ...] = ("cnn", "gpt", "vit", "resnet18")
    """The architectures of whole steps."""
    batch_size: int = 64
    """Examples drawn from each set at a step."""
    sizes: tuple[int, ...] = (1_000_000, 10_000_000, 100_000_000)
    """Parameters that the transformation alone works on, multiples of 8000."""
    rule_size: int = 2_000_000
    """Parameters that the rules work on, a multiple of 8000."""
    scaling_models: tuple[str, ...] = ("mlp",)
    """The architectures of the data-parallel step."""
    devices: tuple[int, ...] = (1, 2, 4, 8)
    """Of the data-parallel step; batches grow with them."""
    seconds: float = 20.0
    """For the timed rounds of one part; 3 to 30 rounds in any case."""
    max_gib: float = 8.0
    """Leave out a rule whose arrays would take more than this."""
    resume: bool = False
    """Continue what --results holds: only parts that it lacks are measured."""
    smoke: bool = False
    """Tiny models and sizes, to see that everything runs."""
    note: str = ""
    """What a reader should know of the circumstances, kept in the results and on the page."""
    report_only: bool = False
    """Measure nothing; write the table of what is there."""
    results: Path = _HERE / "results" / "step.json"
    """The results, written after every part."""
    table: Path = _HERE.parent / "docs" / "step_benchmark.md"
    """The page."""


_SMOKE = {
    "models": ("mlp",), "batch_size": 4, "sizes": (8_000,), "rule_size": 8_000, "seconds": 0.0,
    "scaling_models": ("mlp",), "devices": (1, 2),
}  # fmt: skip

Part = tuple[str, Callable[[], list[dict[str, Any]]]]


def parts(options: Options, say: Callable[[str], None]) -> Iterator[Part]:
    """Every part's name, and what measures it."""
    seconds = options.seconds
    for model in options.models if "whole" in options.kinds else ():
        yield (
            f"whole/{model}",
            lambda m=model: step_whole.cells(
                moments_models.build(m, options.smoke), options.batch_size, seconds, say
            ),
        )
    for size in options.sizes if "transformation" in options.kinds else ():
        measure = partial(step_transformation.cells, size, seconds, options.max_gib)
        yield f"transformation/{size}", measure
    if "rules" in options.kinds:
        yield f"rules/{options.rule_size}", partial(step_rules.cells, options.rule_size, seconds)
    for model in options.scaling_models if "scaling" in options.kinds else ():
        chosen = step_scaling.Options((model,), options.devices, options.batch_size, options.smoke)
        yield f"scaling/{model}", partial(step_scaling.cells, chosen)


def measure(options: Options) -> calibration_results.Results:
    """Every part that the results do not have yet."""
    settings = {"smoke": options.smoke, "batch_size": options.batch_size, "device": device()}
    results = calibration_results.start(options.results, options.resume, settings)
    results["note"] = options.note or results.get("note", "")
    _warn_of_load()
    with Progress() as progress:
        task = progress.add_task("")
        missing = [
            part
            for part in parts(options, lambda what: progress.update(task, description=what))
            if part[0] not in results["parts"]
        ]
        progress.update(task, total=len(missing))
        for name, run in missing:
            progress.update(task, description=name)
            start = time.perf_counter()
            results["parts"][name] = run()
            results["seconds"][name] = round(time.perf_counter() - start, 1)
            calibration_results.write(results, options.results)
            progress.console.print(f"{name}: {results['seconds'][name]} s", highlight=False)
            progress.advance(task)
    return results


def _warn_of_load() -> None:
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"The load average is {load:.2f}: what else runs here will be in the times.")


def main(args: Sequence[str] | None = None) -> None:
    """Measure or read, then render."""
    options = tyro.cli(Options, args=args, description=__doc__)
    if options.smoke:
        for name, value in _SMOKE.items():
            setattr(options, name, value)
    for kind in options.kinds:
        if kind not in KINDS:
            raise SystemExit(f"There is no kind {kind!r}: choose from {', '.join(KINDS)}.")
    path = options.results
    results = calibration_results.read(path) if options.report_only else measure(options)
    options.table.parent.mkdir(parents=True, exist_ok=True)
    options.table.write_text(markdown(results))


if __name__ == "__main__":
    main()
