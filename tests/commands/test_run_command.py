import sys

from feasible_jax.commands.run_command import run_command


def test_the_command_can_be_typed_again(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/feasible-jax", "demo", "--out", "my runs"])
    assert run_command() == "feasible-jax demo --out 'my runs'"
