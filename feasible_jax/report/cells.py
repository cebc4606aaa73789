"""One cell of a table: a mean over seeds, compactly."""

from typing import Literal, NamedTuple

from feasible_jax.report.aggregate import finite_values, mean_over_seeds
from feasible_jax.report.groups import Group
from feasible_jax.report.wording import MISSING, at_most, fixed


class Column(NamedTuple):
    """A column of a table.

    Attributes:
      head: what stands above it.
      metric: a key of the rows.
      digits: after the point.
      scale: what values are multiplied with before they are printed.
      setting: whether it is a setting, whose distinct values are shown, and not a yardstick.
      interval: where the half-width is shown: ``"always"``, ``"page"`` or ``"never"``.
      bounds: keys of the rows that hold an interval within one run, shown where there is one seed.
      upper_bound: whether it is one, of which the largest over seeds is shown, rounded up.
      rank: columns of the highest rank are the first to go where there is no room.

    >>> Column("TA", "test_accuracy").digits
    1
    """

    head: str
    metric: str
    digits: int = 1
    scale: float = 1.0
    setting: bool = False
    interval: Literal["always", "page", "never"] = "always"
    bounds: tuple[str, str] | None = None
    upper_bound: bool = False
    rank: int = 0


class Cell(NamedTuple):
    """What a cell says.

    Attributes:
      value: the mean, or a dash.
      half_width: of its interval; None where there is none.
      mark: what follows, such as an asterisk.

    >>> str(Cell("86.0", "0.5", "*"))
    '86.0±0.5*'
    """

    value: str
    half_width: str | None = None
    mark: str = ""

    def __str__(self) -> str:
        """The cell in as few characters as can be."""
        return self.value + (f"±{self.half_width}" if self.half_width else "") + self.mark


def cell(group: Group, column: Column, mark: str = "") -> Cell:
    """The cell of a group in a column.

    Args:
      group: the row of the table.
      column: its column.
      mark: what to put behind the number.

    Returns:
      The mean and half-width, or the largest upper bound; where some seeds have no value, the mark
      says how many have one.

    >>> rows = tuple({"seed": i, "kept": k} for i, k in enumerate((0.25, 0.25, None)))
    >>> group = Group("random", "NegGrad+", "feasible", True, rows)
    >>> str(cell(group, Column("Kept %", "kept", scale=100.0)))
    '25.0±0.0(2/3)'
    """
    if column.setting:
        return Cell(_distinct(group, column.metric))
    interval = mean_over_seeds(group, column.metric)
    if interval is None:
        return Cell(MISSING)
    if interval.count < len(group.rows):
        mark += f"({interval.count}/{len(group.rows)})"
    if column.bounds and len(group.rows) == 1:
        mark += _within_run(group, column)
    if column.upper_bound:
        largest = max(finite_values(group, column.metric).values())
        return Cell(at_most(largest * column.scale, column.digits), None, mark)
    half = None if column.interval == "never" else interval.half_width
    return Cell(
        fixed(interval.mean * column.scale, column.digits),
        None if half is None else fixed(half * column.scale, column.digits),
        mark,
    )


def _within_run(group: Group, column: Column) -> str:
    """The interval of a single run, as the run itself knows it."""
    ends = [mean_over_seeds(group, bound) for bound in column.bounds or ()]
    if any(end is None for end in ends):
        return ""
    low, high = (fixed(end.mean * column.scale, column.digits) for end in ends if end)
    return f" [{low}, {high}]"


def _distinct(group: Group, metric: str) -> str:
    values = sorted(set(finite_values(group, metric).values()))
    if not values:
        return MISSING
    return f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g}\N{EN DASH}{values[-1]:g}"
