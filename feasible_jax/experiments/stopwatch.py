"""Run time without compilation."""

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import jax


class Stopwatch:
    """Times laps of equal work; their median leaves out the one that compiled.

    Args:
      laps: the seconds of laps that were timed before.

    >>> watch = Stopwatch()
    >>> watch.lap(None)
    >>> watch.restart()
    >>> watch.typical() >= 0
    True
    """

    def __init__(self, laps: Sequence[float] = ()) -> None:
        self.laps = list(laps)
        self.restart()

    def restart(self) -> None:
        """Start the next lap now: what happened since the last one does not count."""
        self._since = time.perf_counter()

    def lap(self, outcome: Any) -> None:
        """End a lap once ``outcome`` is computed, and start the next."""
        jax.block_until_ready(outcome)
        self.laps.append(time.perf_counter() - self._since)
        self.restart()

    def typical(self) -> float:
        """The median lap, in seconds; 0 where there was none."""
        return median(self.laps) if self.laps else 0.0
