"""The tables on a terminal."""

from rich.console import Console, Group
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from feasible_jax.report.cells import Column
from feasible_jax.report.groups import by_scenario, group_rows
from feasible_jax.report.run import Run
from feasible_jax.report.table import Table, TableRow, build_table


def print_tables(run: Run, console: Console | None = None) -> None:
    """Prints one table a scenario, as many columns as the terminal is wide.

    Args:
      run: what to print.
      console: where to; standard output by default.

    Raises:
      ValueError: if the rows are not as ``Run`` says.

    >>> row = dict(scenario="random", method="original", arm="reference", seed=0,
    ...            test_accuracy=86.0)
    >>> console = Console(record=True, quiet=True, width=100)
    >>> print_tables(Run([row], {}, {}, ""), console)
    """
    console = console or Console()
    for groups in by_scenario(group_rows(run.rows)).values():
        console.print(terminal_table(build_table(groups), console))


def terminal_table(table: Table, console: Console) -> Group:
    """A table that fits the console, its caption, and its notes.

    Args:
      table: what ``build_table`` returned.
      console: its width decides which columns are shown.

    Returns:
      Something to print; the caption names the columns left out.

    >>> type(terminal_table(Table("Random examples", (), (), (), ()), Console())).__name__
    'Group'
    """
    ranks = sorted({column.rank for column in table.columns}, reverse=True) or [0]
    shown = list(range(len(table.columns)))
    drawn = _draw(table, shown)
    for rank in ranks:
        if rank == 0 or _width(drawn, console) <= console.width:
            break
        shown = [i for i in shown if table.columns[i].rank < rank]
        drawn = _draw(table, shown)
    hidden = [c.head for i, c in enumerate(table.columns) if i not in shown]
    lines = [*table.caption, *(f"Note: {note}." for note in table.notes)]
    if hidden:
        lines.append(f"Too narrow for {', '.join(hidden)}: see index.html.")
    caption = Text("\n".join(lines), style="dim")
    return Group(Text(table.title, style="bold"), drawn, Padding(caption, (0, 0, 1, 1)))


def _draw(table: Table, shown: list[int]) -> RichTable:
    drawn = RichTable(box=None, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
    drawn.add_column("Method, arm", no_wrap=True)
    for i in shown:
        head = "\n".join(table.columns[i].head.split())
        drawn.add_column(Text(head), justify="right", no_wrap=True)
    method = None
    for row in table.rows:
        if row.method != method and not row.is_reference:
            drawn.add_row(Text(row.method, style="bold"))
        method = row.method
        drawn.add_row(_label(row), *(_text(row, table.columns[i], i) for i in shown))
    return drawn


def _width(drawn: RichTable, console: Console) -> int:
    # Without the update, a console takes no table for wider than itself.
    return Measurement.get(console, console.options.update(max_width=10_000), drawn).maximum


def _label(row: TableRow) -> Text:
    return Text(row.method if row.is_reference else f"  {row.arm}", no_wrap=True)


def _text(row: TableRow, column: Column, index: int) -> Text:
    cell = row.cells[index]
    shown = cell if column.interval == "always" else cell._replace(half_width=None)
    return Text(str(shown), no_wrap=True)
