"""Rejections counted over populations, and what they say of a probability."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from calibration_results import Results, rows_of
from calibration_tests import ALPHAS
from scipy.stats import beta

Row = dict[str, Any]


class Share(NamedTuple):
    """So many of so many."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share, NaN of none."""
        return self.count / self.total if self.total else float("nan")

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The exact binomial interval of Clopper and Pearson (1934)."""
        tail, (k, n) = (1 - confidence) / 2, self
        low = beta.ppf(tail, k, n - k + 1) if k > 0 else 0.0
        high = beta.ppf(1 - tail, k + 1, n - k) if k < n else 1.0
        return float(low), float(high)

    def percent(self, interval: bool = False) -> str:
        """In percent, one digit after the point, with its interval if asked for."""
        if not self.total:
            return "-"
        text = f"{100 * self.value:.1f}"
        if not interval:
            return text
        low, high = (100 * end for end in self.interval())
        return f"{text} ({low:.1f} to {high:.1f})"


def target(alpha: float, batch_size: int) -> float | None:
    """The largest size aimed at: twice the level from 64 examples on, 1.25 times from 256 on."""
    if batch_size < 64:
        return None
    return (2 if batch_size < 256 else 1.25) * alpha


def population_of(row: Row) -> str:
    """The name of a row's population; real ones are named without scenario and step."""
    if "population" in row:
        return row["population"]
    return f"{row['base']}, {row['mask']}, {row['change']}"


class Rejections:
    """Sizes and powers by population, batch size and test; real populations are pooled.

    A real population's share is that of all scenarios and points together.
    """

    def __init__(self, results: Results):
        self.synthetic = rows_of(results, "synthetic")
        self.real = rows_of(results, "real")
        self._rows: dict[tuple[str, int, str], list[Row]] = {}
        for row in self.synthetic + self.real:
            key = population_of(row), row["B"], row["test"]
            self._rows.setdefault(key, []).append(row)

    def populations(self, real: bool) -> list[str]:
        """Names, in the order of the results."""
        return list(dict.fromkeys(map(population_of, self.real if real else self.synthetic)))

    def batch_sizes(self, real: bool) -> list[int]:
        """In order."""
        return sorted({row["B"] for row in (self.real if real else self.synthetic)})

    def tests(self, real: bool) -> list[str]:
        """Names of the tests, the default first."""
        return list(dict.fromkeys(row["test"] for row in (self.real if real else self.synthetic)))

    def share(self, what: str, population: str, size: int, test: str, alpha: float) -> Share:
        """Of ``"size"`` or ``"power"``."""
        return pooled(self._rows.get((population, size, test), []), what, alpha)

    def each(self, what: str, population: str, size: int, test: str, alpha: float) -> list[Share]:
        """The same for every scenario and point by itself."""
        rows = self._rows.get((population, size, test), [])
        return [pooled([row], what, alpha) for row in rows]


def pooled(rows: Iterable[Row], what: str, alpha: float) -> Share:
    """All rows' rejections at a level, together."""
    index, rows = ALPHAS.index(alpha), list(rows)
    return Share(sum(row[what][index] for row in rows), sum(row["draws"] for row in rows))
