"""The tables for a README."""

import re

from feasible_jax.report.groups import by_scenario, group_rows
from feasible_jax.report.run import Run
from feasible_jax.report.table import Table, TableRow, build_table


def markdown_table(run: Run) -> str:
    """One Markdown table a scenario, with its caption.

    Args:
      run: what to print.

    Returns:
      Markdown that ends in a line break; empty where there are no rows.

    Raises:
      ValueError: if the rows are not as ``Run`` says.

    >>> row = dict(scenario="random", method="original", arm="reference", seed=0,
    ...            test_accuracy=86.0)
    >>> print(markdown_table(Run([row], {}, {}, "")).splitlines()[0])
    **Random examples**
    """
    scenarios = by_scenario(group_rows(run.rows)).values()
    return "\n".join(_scenario(build_table(groups)) for groups in scenarios)


def _scenario(table: Table) -> str:
    heads = ["Method", "Arm", *(column.head for column in table.columns)]
    lines = [
        f"**{_escape(table.title)}**",
        "",
        _line(heads),
        _line(["---", "---", *["---:"] * len(table.columns)], escape=False),
        *(_line(_texts(row)) for row in table.rows),
        "",
        _escape(" ".join(table.caption)),
        *(f"\n- {_escape(note)}" for note in table.notes),
    ]
    return "\n".join(lines) + "\n"


def _texts(row: TableRow) -> list[str]:
    arm = "" if row.is_reference else row.arm
    return [row.method, arm, *map(str, row.cells)]


def _line(texts: list[str], escape: bool = True) -> str:
    return "| " + " | ".join(_escape(text) if escape else text for text in texts) + " |"


def _escape(text: str) -> str:
    return re.sub(r"([\\|*_<>\[\]`])", r"\\\1", " ".join(text.split()))
