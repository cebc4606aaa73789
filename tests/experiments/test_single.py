import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from feasible_jax.experiments.config import SingleConfig, TaskConfig
from feasible_jax.experiments.single import run_single
from feasible_jax.unlearning.checkpoint import load_params

CONFIG = SingleConfig(
    task=TaskConfig(train_size=200, validation_size=100, test_size=100, epochs=3),
    method="gradient_ascent",
    learning_rate=0.01,
    momentum=0.5,
    steps=4,
    batch_size=16,
)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    return folder, run_single(CONFIG, folder, progress=False)


def test_rows_checkpoint_and_curves(single):
    folder, outcome = single
    assert [row["method"] for row in outcome.study.rows] == [
        "original",
        "retrained",
        "gradient ascent",
    ]
    assert outcome.study.rows[-1]["steps"] == 4
    assert len(outcome.study.curves["histograms"]) == 3
    loaded = load_params(folder / "checkpoint", outcome.result.params)
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(outcome.result.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_models_of_a_folder_are_not_trained_again(single, monkeypatch):
    folder, outcome = single
    module = sys.modules["feasible_jax.experiments.build_task"]
    monkeypatch.setattr(module, "train", pytest.fail)
    again = run_single(CONFIG, folder, progress=False)
    assert again.study.rows[-1]["test_accuracy"] == outcome.study.rows[-1]["test_accuracy"]


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"batch_size": 1},
        {"learning_rate": 0.0},
        {"momentum": 1.0},
        {"confidence": 1.0},
        {"arm": "x"},
        {"method": "x"},
        {"scenario": "x"},
    ],
)
def test_settings_that_cannot_work_leave_no_trace(tmp_path, changes):
    with pytest.raises(ValueError, match=r"x|steps|batch_size|rate|momentum|confidence"):
        run_single(replace(CONFIG, **changes), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_a_certified_run_says_how_much_was_certified(tmp_path):
    outcome = run_single(replace(CONFIG, arm="certified"), tmp_path, progress=False)
    row, certificates = outcome.study.rows[-1], outcome.result.history.certificates
    assert row["arm"] == "certified"
    assert row["feasible"]
    assert row["certified"] == pytest.approx(certificates.accepted.mean())
    assert (outcome.result.history.abstained >= ~certificates.accepted).all()


def test_run_time_leaves_out_compilation(single):
    _, outcome = single
    assert outcome.study.rows[-1]["seconds"] > 0
