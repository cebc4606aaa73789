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

    def left(self, method: str, seed: int, tried: int) -> int:
        """The units of work that a cell had been thought to be, less those of the trials made."""
        return self._looks(method) * (self._trials(seed) - tried)

    def _looks(self, method: str) -> int:
        search = search_of(method, self._config.search)
        return -(-search.steps // search.look_every)

    def _trials(self, seed: int) -> int:
        # Other seeds take over a setting, or two where two measures chose.
        return 1 + self._config.equal_utility if seed else len(self._config.search.learning_rates)

    def _amount(self) -> int:
        config = self._config
        training = 2 * config.task.epochs * config.seeds
        trials = sum(map(self._trials, range(config.seeds)))
        masked, alone = (
            sum(map(self._looks, some)) for some in (config.methods, config.comparison)
        )
        runs = trials * (len(config.arms) * masked + alone)
        return len(config.scenarios) * (training + runs)
