import sys

import pytest

from feasible_jax.commands.run_command import go_on, run_command


def test_the_command_can_be_typed_again(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/feasible-jax", "demo", "--out", "my runs"])
    assert run_command() == "feasible-jax demo --out 'my runs'"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["demo", "--out", "a b"], "demo --out 'a b'"),
        (["benchmark", "--out", "x"], "benchmark --out x"),
        (["unlearn", "--out", "x"], "unlearn --out x --resume"),
        (["unlearn", "--resume", "--out", "x"], "unlearn --resume --out x"),
    ],
)
def test_who_is_interrupted_is_told_how_to_go_on(given, told, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["feasible-jax", *given])
    assert go_on() == f"Interrupted. To go on where it stopped: feasible-jax {told}"


def test_where_there_is_nothing_to_go_on_with_nothing_is_promised(monkeypatch):
    for given in (["evaluate", "--run", "x"], []):
        monkeypatch.setattr(sys, "argv", ["feasible-jax", *given])
        assert go_on() == "Interrupted."
