"""The cost of gradient moments, side by side: this library, Optax, BackPACK and torch.func.

    pip install -e '.[bench]'
    python benchmarks/moments.py --out moments.json --table moments.md --plot moments.svg
    python benchmarks/moments.py --out moments.json --resume
    python benchmarks/moments.py --report moments.json --table moments.md --plot moments.svg

The mean and variance of per-example gradients against the plain gradient of the mean loss, of five
architectures, in one process and in turn. Ratios are to the plain gradient of the same framework.
Run it on a machine that does nothing else: a second process slows threads that wait for each
other, PyTorch's above all, by far more than its own share.

The contenders in PyTorch are left out where it or BackPACK is missing. On Linux pip brings a
PyTorch with several GB of CUDA; install its CPU build first (pytorch.org, "CPU"), or leave
PyTorch out with ``pip install -e .``.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import moments_jax
import moments_models
import moments_results
import tyro
from moments_cell import run_cell
from moments_contender import Contender
from moments_plot import write_plot
from moments_report import cell_lines, markdown
from rich.progress import Progress


@dataclass
class Options:
    """What to measure and where to write it."""

    models: tuple[str, ...] = moments_models.MODELS
    """The architectures."""
    batch_sizes: tuple[int, ...] = ()
    """Default: 64 256; with --smoke 4 8."""
    contenders: tuple[str, ...] = ()
    """By key; the plain gradient of their framework joins them. Default: all."""
    seconds_per_cell: float = 120.0
    """For the timed rounds of one model and batch size; 3 to 30 rounds in any case."""
    max_gib: float = 6.0
    """Leave out contenders that would hold more per-example gradients than this."""
    max_call_seconds: float = 60.0
    """Leave out contenders whose first call takes longer than this."""
    out: Path = Path("moments.json")
    """The results, written after every model and batch size."""
    resume: bool = False
    """Continue what --out holds."""
    smoke: bool = False
    """Tiny models and batches, to see that everything runs."""
    table: Path | None = None
    """Write a Markdown table here."""
    plot: Path | None = None
    """Write a picture here, its format by the suffix."""
    report: Path | None = None
    """Measure nothing: render these results."""


def available_contenders() -> tuple[Contender, ...]:
    """Those of JAX, and on a CPU those of PyTorch where it can be imported."""
    if jax.default_backend() != "cpu":
        print("Without the contenders in PyTorch: they run on a CPU alone.")
        return moments_jax.CONTENDERS
    try:
        import moments_torch
    except ImportError as error:
        print(f"Without the contenders in PyTorch: {error}.")
        return moments_jax.CONTENDERS
    return moments_jax.CONTENDERS + moments_torch.CONTENDERS


def choose(names: Sequence[str]) -> list[Contender]:
    """The contenders of these names with their baselines, all for none."""
    known = available_contenders()
    _check(names, [contender.name for contender in known], "contender")
    frameworks = {c.framework for c in known if c.name in names}
    return [
        c
        for c in known
        if not names or c.name in names or (c.is_baseline and c.framework in frameworks)
    ]


def _check(names: Sequence[str], known: Sequence[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise SystemExit(f"There is no {what} {name!r} here: choose from {', '.join(known)}.")


def measure(options: Options) -> dict:
    """Every cell that the results do not have yet."""
    contenders = choose(options.contenders)
    _check(options.models, moments_models.MODELS, "model")
    results = moments_results.start(options.out, options.resume, options.smoke)
    _warn_of_load()
    sizes = options.batch_sizes or ((4, 8) if options.smoke else (64, 256))
    names = {contender.name for contender in contenders}
    cells = [
        (model, size)
        for model in options.models
        for size in sizes
        if not moments_results.is_done(results, model, size, names)
    ]
    with Progress() as progress:
        task = progress.add_task("", total=len(cells))
        for name, size in cells:
            rows = run_cell(
                moments_models.build(name, options.smoke),
                size,
                contenders,
                seconds=0 if options.smoke else options.seconds_per_cell,
                max_gib=options.max_gib,
                max_call_seconds=options.max_call_seconds,
                say=lambda what, cell=f"{name} B={size}": progress.update(
                    task, description=f"{cell}: {what}"
                ),
            )
            moments_results.replace_cell(results, rows)
            moments_results.write(results, options.out)
            for line in cell_lines(rows):
                progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
            progress.advance(task)
    return results


def _warn_of_load() -> None:
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"The load average is {load:.2f}: what else runs here will be in the times.")


def main(args: Sequence[str] | None = None) -> None:
    """Measure or read, then render."""
    options = tyro.cli(Options, args=args, description=__doc__)
    if options.report is None:
        # A cached executable would make the compile times meaningless.
        jax.config.update("jax_enable_compilation_cache", False)
        results = measure(options)
    else:
        results = moments_results.read(options.report)
    if options.table is not None:
        options.table.write_text(markdown(results))
    if options.plot is not None:
        write_plot(results, options.plot)


if __name__ == "__main__":
    main()
