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
            assert figures[name].get(yardstick.name) == row.get(yardstick.name), yardstick.name
        assert figures[name]["rte_minutes"] > 0
        assert figures[name]["rte_ratio"] > 0
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
    timed = {"seconds", "rte_minutes", "rte_ratio"}
    assert {figures["checkpoint"][name] for name in timed} == {None}  # nobody knows how it was made
    assert all(figures["original"][name] > 0 for name in timed)
    checkpoint, original = (
        {name: value for name, value in figures[column].items() if name not in timed}
        for column in ("checkpoint", "original")
    )
    assert checkpoint == original
    assert "this is the original model" in " ".join(printed.split())


def test_what_takes_training_is_measured_on_request(feasible_jax, run_folder, tmp_path):
    arguments = ("--relearn", "--relearn-steps", 4, "--shadow-models", 3)
    figures = []
    for again in range(2):
        out = tmp_path / f"figures{again}.json"
        status, printed = feasible_jax("evaluate", "--run", run_folder, "--out", out, *arguments)
        assert status == 0, printed
        figures.append(json.loads(out.read_text()))
    on_request = [yardstick.name for yardstick in YARDSTICKS if yardstick.on_request]
    for row in figures[0].values():
        assert all(type(row[name]) is float for name in on_request)
    assert figures[0]["original"]["relearn_steps"] == 0
    assert 0 < figures[0]["retrained"]["relearn_steps"] <= 4
    assert figures[0] == figures[1]
    assert (run_folder / "models" / "shadows-3-unlearned").is_dir()
    words = " ".join(printed.split())
    assert "U-LiRA" in words
    assert "3 shadow models unlearned with the run's settings, 3 originals" in words


def test_what_cannot_be_measured_is_refused(feasible_jax, run_folder):
    status, printed = feasible_jax("evaluate", "--run", run_folder, "--shadow-models", 2)
    assert status == 2
    assert "give at least 3" in printed
    status, printed = feasible_jax("evaluate", "--run", run_folder, "--relearn-steps", -1)
    assert status == 2
    assert "relearn_steps is -1" in printed


def test_a_folder_that_is_no_run(feasible_jax, tmp_path):
    status, printed = feasible_jax("evaluate", "--run", tmp_path)
    assert status == 2
    assert "feasible-jax unlearn" in printed.replace("\n", " ")
