"""The progress bar of training the reference models."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from feasible_jax.experiments.work_bar import work_bar


@contextmanager
def training_bar(console: Console, epochs: int) -> Iterator[Callable[[str, int, int, float], None]]:
    """A bar told of each epoch, ``(role, epoch, epochs, loss)``; silent where no terminal is.

    >>> from rich.console import Console
    >>> with training_bar(Console(quiet=True), 2) as on_epoch:
    ...     on_epoch("original", 1, 2, 0.5)
    """
    with work_bar(console, "training", epochs) as advance:

        def on_epoch(role: str, epoch: int, epochs: int, loss: float) -> None:
            del epoch, epochs
            advance(f"training the {role} model, loss {loss:.3f}", 1)

        yield on_epoch
