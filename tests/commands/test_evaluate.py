import json

import pytest

from feasible_jax.evaluation import YARDSTICKS


@pytest.fixture
def run_folder(feasible_jax, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    monkeypatch.setattr("feasible_jax.experiments.config._PRESETS", _tiny_presets(), raising=True)
    arguments = ("--steps", 3, "--batch-size", 8, "--method", "fine_tuning", "--scenario", "random")
    status, printed = feasible_jax("unlearn", "--out", folder, *arguments)
    assert status == 0, printed
    return folder


def _tiny_presets():
    from feasible_jax.experiments.config import StudyConfig, TaskConfig

    task = TaskConfig(train_size=150, validation_size=60, test_size=60, epochs=2)
    return {"digits": StudyConfig(task=task), "fashion_mnist": StudyConfig(task=task)}


def test_the_figures_are_those_of_the_run(feasible_jax, run_folder, tmp_path):
    out = tmp_path / "figures.json"
    status, printed = feasible_jax("evaluate", "--run", run_folder, "--out", out)
    assert status == 0, printed
    figures = json.loads(out.read_text())
    rows = json.loads((run_folder / "results.json").read_text())
    for name, method in (("checkpoint", "fine-tuning"), ("original", "original")):
        row = next(row for row in rows if row["method"] == method)
        for yardstick in YARDSTICKS:
            if not yardstick.name.startswith("rte"):
                assert figures[name].get(yardstick.name) == row.get(yardstick.name), yardstick.name
    assert "Avg. Gap" in printed
    words = " ".join(printed.split())
    assert "Test accuracy, of the classes that remain, is at " in words
    assert "95% confidence. It " in words
    assert "less than 0.5 points (p = " in words


def test_margin_and_confidence_can_be_given(feasible_jax, run_folder):
    arguments = ("evaluate", "--run", run_folder, "--margin", 100, "--confidence", 0.5)
    status, printed = feasible_jax(*arguments)
    words = " ".join(printed.split())
    assert status == 0, printed
    assert "50% confidence. It fell by less than 100 points" in words
    status, printed = feasible_jax("evaluate", "--run", run_folder, "--confidence", 95)
    assert status == 2
    assert "confidence is 95" in printed


def test_another_checkpoint_is_measured_on_the_same_task(feasible_jax, run_folder, tmp_path):
    out = tmp_path / "figures.json"
    original = run_folder / "models/original"
    status, printed = feasible_jax(
        "evaluate", "--run", run_folder, "--checkpoint", original, "--out", out
    )
    assert status == 0
    figures = json.loads(out.read_text())
    assert figures["checkpoint"] == figures["original"]
    assert "this is the original model" in " ".join(printed.split())


def test_a_folder_that_is_no_run(feasible_jax, tmp_path):
    status, printed = feasible_jax("evaluate", "--run", tmp_path)
    assert status == 2
    assert "feasible-jax unlearn" in printed.replace("\n", " ")
