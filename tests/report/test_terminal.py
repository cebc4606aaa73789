import io

import pytest
from rich.console import Console

from feasible_jax.report import Run, print_tables


def printed(run, width):
    console = Console(file=io.StringIO(), width=width)
    print_tables(run, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_fits_the_terminal_and_cuts_no_number(run, width):
    text = printed(run, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "Random examples" in text
    assert "Corrupted labels" in text


def test_columns_left_out_are_named(run):
    assert "Too narrow for ToW, lr, Conf., Steps" in printed(run, 100)
    assert "Too narrow" not in printed(run, 200)


def test_notes_are_printed(run):
    assert "Note: gradient ascent, plain, seed 1: a loss was not finite" in printed(run, 120)


def test_names_are_no_markup(one_seed):
    rows = [row | {"scenario": "[red]x", "method": "[b]m"} for row in one_seed.rows[:1]]
    text = printed(Run(rows, {}, {}, ""), 100)
    assert "[red]x" in text
    assert "[b]m" in text


def test_prints_to_standard_output(one_seed, capsys):
    print_tables(one_seed)
    assert "One seed: no intervals" in capsys.readouterr().out
