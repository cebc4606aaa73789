import sys

import pytest

from feasible_jax.cli import run as run_cli


@pytest.fixture
def feasible_jax(monkeypatch, capsys):
    """Runs the command line in this process; gives its exit status and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["feasible-jax", *map(str, arguments)])
        try:
            status = run_cli()
        except SystemExit as end:
            status = end.code or 0
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


@pytest.fixture(autouse=True, scope="module")
def compile_quickly(quick_compilation):
    """Programs here are compiled far longer than they run."""
