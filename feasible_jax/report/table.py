"""The table of a scenario, before it is printed anywhere."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from feasible_jax.report.aggregate import finite_values
from feasible_jax.report.cells import Cell, Column, cell
from feasible_jax.report.groups import Group
from feasible_jax.report.verdicts import compare_arms
from feasible_jax.report.wording import counted, has_wrong_labels, scenario_title


class TableRow(NamedTuple):
    """One row.

    Attributes:
      method: the base method, or the reference model.
      arm: its arm.
      feasible: whether the arm tests its updates.
      is_reference: whether this is the original or the retrained model.
      cells: one a column.

    >>> TableRow("NegGrad+", "plain", False, False, (Cell("86.0"),)).cells[0].value
    '86.0'
    """

    method: str
    arm: str
    feasible: bool
    is_reference: bool
    cells: tuple[Cell, ...]


class Table(NamedTuple):
    """The table of one scenario.

    Attributes:
      title: the scenario, as people read it.
      columns: without those of the method and the arm.
      rows: references first.
      caption: how to read it, a sentence each.
      notes: what went wrong in single runs.

    >>> Table("Random examples", (), (), (), ()).title
    'Random examples'
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    caption: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def bodies(self) -> list[tuple[str, list[TableRow]]]:
        """The rows of each method, by its name."""
        return [(method, list(rows)) for method, rows in groupby(self.rows, lambda r: r.method)]


def build_table(groups: Sequence[Group]) -> Table:
    """The table of one scenario.

    Args:
      groups: all of the same scenario, at least one, in table order.

    Returns:
      A ``Table``. An Avg. Gap has an asterisk where the paired 95% interval of feasible minus plain
      excludes 0.

    >>> rows = ({"seed": 0, "test_accuracy": 86.0},)
    >>> table = build_table([Group("random", "original", "reference", False, rows)])
    >>> dict(zip((c.head for c in table.columns), map(str, table.rows[0].cells)))["TA"]
    '86.0'
    """
    columns = columns_of(groups)
    clear = [c.feasible for c in compare_arms(groups) if c.verdict in ("better", "worse")]
    rows = [_row(group, columns, group in clear) for group in groups]
    title = scenario_title(groups[0].scenario)
    caption = _caption(groups, rows, bool(clear))
    return Table(title, columns, tuple(rows), caption, _notes(groups))


_FALL = "test_accuracy_fall_bound"
_AUC_BOUNDS = ("mia_auc_low", "mia_auc_high")


def columns_of(groups: Sequence[Group]) -> tuple[Column, ...]:
    """The columns a scenario needs.

    Wrong labels have a second accuracy on the forget set, and rows of older runs no bound on the
    fall of test accuracy.

    >>> [c.head for c in columns_of([Group("random", "original", "reference", False, ())])][:3]
    ['Forget acc.', 'RA', 'TA']
    """
    forget = [Column("Forget acc.", "forget_accuracy")]
    if has_wrong_labels(groups):
        forget = [
            Column("Forget acc. (wrong labels)", "forget_accuracy"),
            Column("True-label acc.", "forget_true_accuracy"),
        ]
    certified = [Column("Certified %", "certified", scale=100.0, interval="never", rank=1)]
    fall = [Column("TA fell \N{LESS-THAN OR EQUAL TO}", _FALL, upper_bound=True, rank=1)]
    return (
        *forget,
        Column("RA", "retain_accuracy"),
        Column("TA", "test_accuracy"),
        *(fall if any(finite_values(group, _FALL) for group in groups) else []),
        Column("MIA", "mia_svc"),
        Column("MIA AUC", "mia_auc", digits=3, interval="page", bounds=_AUC_BOUNDS, rank=2),
        Column("Avg. Gap", "avg_gap"),
        Column("ToW", "tow", digits=3, interval="page", rank=4),
        Column("RTE (min)", "rte_minutes", digits=3, interval="never", rank=1),
        Column("Kept %", "kept", scale=100.0, interval="never", rank=1),
        *(certified if any(finite_values(group, "certified") for group in groups) else []),
        Column("lr", "learning_rate", setting=True, rank=3),
        Column("Conf.", "confidence", setting=True, rank=3),
        Column("Steps", "steps", setting=True, rank=3),
    )


def _row(group: Group, columns: Sequence[Column], clear: bool) -> TableRow:
    cells = (cell(group, c, "*" if clear and c.metric == "avg_gap" else "") for c in columns)
    return TableRow(group.method, group.arm, group.feasible, group.is_reference, tuple(cells))


def _caption(groups: Sequence[Group], rows: Sequence[TableRow], any_clear: bool) -> tuple[str, ...]:
    seeds = sorted({len(group.rows) for group in groups})
    over = counted(seeds[-1], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    lines = [
        "One seed: no intervals over seeds, so small differences say nothing; in brackets, the 95% "
        "interval of the MIA AUC within the run."
        if seeds[-1] == 1
        else f"Mean ± half-width of the 95% Student interval over {over}.",
        "Accuracies and MIA in percent; their target, and that of MIA AUC, is the retrained row. "
        "UA is 100 - forget acc. MIA counts forget examples taken for never trained on.",
        "Avg. Gap in percent points: lower is better, read it beside the original's row. ToW: "
        "higher is better, 1 is the retrained model. RTE: lower is better.",
    ]
    if any(finite_values(group, _FALL) for group in groups):
        every = " in every seed, each" if seeds[-1] > 1 else ","
        lines.append(
            "TA fell \N{LESS-THAN OR EQUAL TO}: test accuracy, of the classes that remain, is at "
            f"most so many points below the original's (negative: above it){every} with 95% "
            "confidence."
        )
    if any_clear:
        lines.append(
            "* Avg. Gap differs from the plain arm's: the paired 95% interval excludes 0 "
            "(each on its own, not corrected for the number of comparisons)."
        )
    if any("/" in c.mark for row in rows for c in row.cells):
        lines.append("(2/3): the mean of those 2 of 3 seeds that have a value.")
    return tuple(lines)


def _notes(groups: Sequence[Group]) -> tuple[str, ...]:
    return tuple(
        f"{group.method}, {group.arm}, seed {row['seed']}: {row['note']}"
        for group in groups
        for row in group.rows
        if row.get("note")
    )
