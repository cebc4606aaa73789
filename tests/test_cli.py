import os
import subprocess
import sys

import pytest

from feasible_jax import cli


def test_help_names_the_commands(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["feasible-jax", "--help"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("demo", "unlearn", "evaluate"))


def test_who_is_interrupted_leaves_at_once(monkeypatch):
    """Python's own way out takes JAX down under a compilation that is still running."""

    def leave(status):
        raise InterruptedError(status)

    monkeypatch.setattr(os, "_exit", leave)
    for status, end in ((0, SystemExit), (2, SystemExit), (130, InterruptedError)):
        monkeypatch.setattr(cli, "run", lambda status=status: status)
        with pytest.raises(end) as caught:
            cli.main()
        assert caught.value.args == (status,)


def test_importing_the_package_stays_light():
    heavy = ("matplotlib", "sklearn", "tensorflow", "flax", "rich", "tyro", "jinja2", "orbax")
    code = f"import sys, feasible_jax; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
