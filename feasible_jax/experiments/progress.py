"""The progress of a study: one bar over everything, and what is under way."""

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from feasible_jax.experiments.arms import make_method
from feasible_jax.experiments.config import StudyConfig
from feasible_jax.experiments.search import search_of


class StudyProgress:
    """A bar with time left on a terminal; elsewhere a line for each finished cell.

    Args:
      config: the study's settings, for the amount of work.
      console: where to print.

    >>> from rich.console import Console
    >>> with StudyProgress(StudyConfig(), Console(quiet=True)) as progress:
    ...     progress.advance("training")
    """

    def __init__(self, config: StudyConfig, console: Console):
        self._console = console
        self._config = config
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=self._amount())

    def __enter__(self) -> "StudyProgress":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def advance(self, doing: str, units: float = 1) -> None:
        """One epoch of training, or one look at a run, is done."""
        self._progress.update(self._task, description=doing, advance=units)

    def finished(self, cell: str, units_left: float = 0) -> None:
        """A whole cell is done, ``units_left`` of its work by being found finished on disk."""
        self._progress.update(self._task, advance=units_left)
        if not self._console.is_terminal:
            self._console.print(cell)

    def looks(self, method: str, settings: int) -> int:
        """The units of work in a cell that tries so many settings of a method."""
        search = search_of(make_method(method, 10), self._config.search)
        return settings * -(-search.steps // search.look_every)

    def _amount(self) -> int:
        config = self._config
        training = 2 * config.task.epochs * config.seeds
        rates = len(config.search.learning_rates) + config.seeds - 1
        cells = len(config.arms) * sum(self.looks(method, rates) for method in config.methods)
        return len(config.scenarios) * (training + cells)
