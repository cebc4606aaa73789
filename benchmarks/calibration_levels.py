"""What rules and certificates let pass at every level and size of a batch, counted."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from calibration_counts import Share
from calibration_results import Results, rows_of
from calibration_tests import ALPHAS

Row = dict[str, Any]

# Draws of which a share says something.
_ENOUGH = 100


class Figure(NamedTuple):
    """Of all populations together a share, its 95% interval, and the extremes of single ones."""

    value: float
    low: float
    high: float
    least: float
    largest: float


class Levels:
    """The rows of one kind and origin.

    Attributes:
      title: of the populations.
      rules: by name, in order.
      batch_sizes: in order.
      real: whether the gradients are those of a model.
      bases: the base methods, in order; none of what is synthetic.
    """

    def __init__(self, title: str, rows: Sequence[Row]):
        self.title = title
        self.rules = list(dict.fromkeys(row["rule"] for row in rows))
        self.batch_sizes = sorted({row["B"] for row in rows})
        self.real = any("scenario" in row for row in rows)
        self.bases = list(dict.fromkeys(row["base"] for row in rows if "base" in row))
        self._rows: dict[tuple[str, int], list[Row]] = {}
        for row in rows:
            self._rows.setdefault((row["rule"], row["B"]), []).append(row)

    def of_base(self, base: str) -> "Levels":
        """Those of one base method."""
        rows = [row for some in self._rows.values() for row in some if row["base"] == base]
        return Levels(f"{self.title}, {base}", rows)

    def figure(self, what: str, rule: str, size: int, alpha: float) -> Figure | None:
        """A share of coordinates or of draws; None where the rule let nothing pass.

        The interval is Clopper and Pearson's where draws are independent. Where coordinates of a
        draw, or batches of an update, are not, it is that of a mean of such clusters.
        """
        rows, level = self._rows.get((rule, size), []), ALPHAS.index(alpha)
        if not rows:
            return None
        counted = what not in ("passes", "aligned")
        each = [row[what][level] / (row["draws"] if counted else 1) for row in rows]
        if f"{what}_error" in rows[0]:
            value = float(np.mean(each))
            errors = [row[f"{what}_error"][level] for row in rows]
            half = 1.96 * float(np.linalg.norm(errors)) / len(rows)
            low, high = max(value - half, 0.0), min(value + half, 1.0)
        else:
            share = self.share(what, "draws", rule, size, alpha)
            value, (low, high) = share.value, share.interval()
        return Figure(value, low, high, min(each), max(each))

    def largest(self, what: str, of: str, rule: str, size: int, alpha: float) -> Share:
        """The largest such share of a single population with at least as many as `_ENOUGH`."""
        rows, level = self._rows.get((rule, size), []), ALPHAS.index(alpha)
        shares = [Share(row[what][level], row[of]) for row in rows if row[of] >= _ENOUGH]
        return max(shares, key=lambda share: share.value, default=Share(0, 0))

    def share(self, what: str, of: str, rule: str, size: int, alpha: float) -> Share:
        """Of all populations together, a count at a level of another, at that level or at all."""
        rows, level = self._rows.get((rule, size), []), ALPHAS.index(alpha)

        def total(name: str) -> int:
            counts = (row[name] for row in rows)
            return sum(c[level] if isinstance(c, list) else c for c in counts)

        return Share(total(what), total(of))


def of_masks(results: Results) -> list[Levels]:
    """What rules let pass by themselves: on synthetic populations, and on real ones."""
    rows = rows_of(results, "masks")
    found = (
        Levels("Synthetic coordinates", [row for row in rows if "population" in row]),
        Levels("Coordinates of real updates", [row for row in rows if "scenario" in row]),
    )
    return [levels for levels in found if levels.rules]


def of_certificates(results: Results) -> list[Levels]:
    """What the test lets pass: on synthetic updates, and on real ones by kind of change."""
    rows = rows_of(results, "certified")
    found = (
        Levels("Synthetic updates", [row for row in rows if "population" in row]),
        *(
            Levels(f"Real updates, {change}", [row for row in rows if row.get("change") == change])
            for change in ("loss", "direction")
        ),
    )
    return [levels for levels in found if levels.rules]
