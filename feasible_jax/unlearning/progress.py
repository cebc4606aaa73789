"""The progress bar of a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from feasible_jax.unlearning.step import Record


@contextmanager
def progress_bar(
    label: str, steps: int, show: bool, taken: int = 0
) -> Iterator[Callable[[Record], None]]:
    """A bar that is told of each finished chunk; silent unless wanted and on a terminal.

    Args:
      label: what is under way.
      steps: number of steps of the whole run.
      show: whether to show it.
      taken: steps taken before.

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
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=steps, completed=taken, status="compiling")

        def report(record: Record) -> None:
            taken = np.asarray(record.alive)
            if not taken.any():
                return
            losses = ", ".join(
                f"{name} {latest:.3g}"
                for name, values in record.losses.items()
                if (latest := _latest(np.asarray(values)[taken])) is not None
            )
            kept = 100 * float(np.asarray(record.kept)[taken][-1])
            status = f"loss: {losses}; kept {kept:.0f}%"
            progress.update(task, advance=int(taken.sum()), status=status)

        yield report


def _latest(values: np.ndarray) -> float | None:
    """The last loss of an objective; NaN stands for the steps at which it did not act."""
    known = values[~np.isnan(values)]
    return float(known[-1]) if len(known) else None
