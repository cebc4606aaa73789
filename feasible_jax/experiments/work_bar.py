"""A progress bar over work that comes in units."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def work_bar(console: Console, doing: str, total: int) -> Iterator[Callable[[str, int], None]]:
    """A bar told what is under way and how many units are done; silent where no terminal is.

    >>> from rich.console import Console
    >>> with work_bar(Console(quiet=True), "training", 2) as advance:
    ...     advance("training the original model", 1)
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    left = (TextColumn("left:"), TimeRemainingColumn())
    with Progress(*columns, *left, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(doing, total=total)
        yield lambda doing, units: progress.update(task, description=doing, advance=units)
