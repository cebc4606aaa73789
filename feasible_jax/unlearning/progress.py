"""The progress bar of a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from feasible_jax.unlearning.step import Record


@contextmanager
def progress_bar(label: str, steps: int, show: bool) -> Iterator[Callable[[Record], None]]:
    """A bar that is told of each finished chunk; silent unless wanted and on a terminal.

    >>> with progress_bar("gradient ascent", 10, show=False) as report:
    ...     callable(report)
    True
    """
    if not show:
        yield lambda record: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=steps, status="compiling")

        def report(record: Record) -> None:
            taken = int(np.sum(record.alive))
            losses = ", ".join(
                f"{name} {float(np.asarray(values)[-1]):.3g}"
                for name, values in record.losses.items()
            )
            kept = 100 * float(np.asarray(record.kept)[-1])
            progress.update(task, advance=taken, status=f"loss: {losses}; kept {kept:.0f}%")

        yield report
