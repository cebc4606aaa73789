import importlib.util
from pathlib import Path

import pytest

from feasible_jax.evaluation import YARDSTICKS
from feasible_jax.report import Run, write_report

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "readme_results.py"


@pytest.fixture
def script(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("readme_results", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def a_row(method, arm, value):
    about = {"dataset": "digits", "model": "mlp", "scenario": "random", "seed": 0}
    settings = {"learning_rate": None, "steps": None, "kept": None, "note": None}
    named = {"method": method, "arm": arm, "feasible": arm == "feasible"}
    return about | named | settings | {yardstick.name: value for yardstick in YARDSTICKS}


@pytest.fixture
def run_folder(tmp_path):
    rows = [
        a_row("original", "reference", 91.5),
        a_row("retrained", "reference", 90.0),
        a_row("NegGrad+", "plain", 80.25),
        a_row("NegGrad+", "feasible", 85.5),
    ]
    run = Run(rows, {"seeds": 1}, {"kept": [], "histograms": []}, "feasible-jax demo --out x")
    write_report(run, tmp_path / "run")
    return tmp_path / "run"


def test_only_what_stands_between_the_marks_changes(script, run_folder, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{script.START}\nold figures\n{script.END}\nafter\n")
    for _ in range(2):
        script.main(run_folder)
        text = readme.read_text()
        assert text.startswith(f"before\n{script.START}")
        assert text.endswith(f"{script.END}\nafter\n")
        assert "old figures" not in text
        assert "80.2" in text
        assert "feasible-jax demo --out x" in text
    assert (tmp_path / script.PICTURE).is_file()


def test_a_readme_without_marks_is_left_alone(script, run_folder, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("nothing to replace")
    with pytest.raises(SystemExit, match="no section"):
        script.main(run_folder)
    assert readme.read_text() == "nothing to replace"
