"""Run time without compilation."""

import time
from statistics import median
from typing import Any

import jax


class Stopwatch:
    """Times laps of equal work; their median leaves out the one that compiled.

    >>> watch = Stopwatch()
    >>> watch.lap(None)
    >>> watch.restart()
    >>> watch.typical() >= 0
    True
    """

    def __init__(self) -> None:
        self._laps: list[float] = []
        self.restart()

    def restart(self) -> None:
        """Start the next lap now: what happened since the last one does not count."""
        self._since = time.perf_counter()

    def lap(self, outcome: Any) -> None:
        """End a lap once ``outcome`` is computed, and start the next."""
        jax.block_until_ready(outcome)
        self._laps.append(time.perf_counter() - self._since)
        self.restart()

    def typical(self) -> float:
        """The median lap, in seconds; 0 where there was none."""
        return median(self._laps) if self._laps else 0.0
