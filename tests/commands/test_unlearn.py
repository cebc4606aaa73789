import json

import pytest

TINY = ("--steps", 4, "--batch-size", 8, "--method", "gradient_ascent", "--learning-rate", 0.05)

TASK = """
import numpy as np
import jax.numpy as jnp
import feasible_jax as fj

def predict(w, inputs):
    return inputs @ w

def loss(w, example):
    logits = predict(w, example.inputs)
    return jnp.log(jnp.exp(logits).sum()) - logits[example.labels]

def make():
    rng = np.random.default_rng(0)
    def some(n):
        return fj.Examples(rng.normal(size=(n, 4)).astype("float32"), rng.integers(0, 3, n))
    return fj.Task("mine", loss, predict, np.zeros((4, 3), "float32"), some(8), some(20), some(9),
                   some(9), num_classes=3)
"""


@pytest.fixture
def own_task(tmp_path, monkeypatch):
    (tmp_path / "own_command_task.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    return "own_command_task:make"


def test_a_task_of_ones_own_without_a_retrained_model(feasible_jax, own_task, tmp_path):
    status, printed = feasible_jax("unlearn", "--out", tmp_path / "run", "--task", own_task, *TINY)
    assert status == 0, printed
    rows = json.loads((tmp_path / "run/results.json").read_text())
    assert [row["method"] for row in rows] == ["original", "gradient ascent"]
    assert (tmp_path / "run/index.html").is_file()
    assert (tmp_path / "run/checkpoint").is_dir()


def test_a_wrong_flag_value_names_the_allowed_ones(feasible_jax, tmp_path):
    status, printed = feasible_jax("unlearn", "--out", tmp_path, "--method", "ascent")
    assert status != 0
    for name in ("gradient_ascent", "neg_grad_plus", "random_labels", "fine_tuning", "l1_sparse"):
        assert name in printed
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_other_settings_is_refused(feasible_jax, own_task, tmp_path):
    arguments = ("unlearn", "--out", tmp_path / "run", "--task", own_task, *TINY)
    assert feasible_jax(*arguments)[0] == 0
    status, printed = feasible_jax(*arguments, "--seed", 3)
    assert status == 2
    assert "other settings" in printed


def test_help_says_what_each_option_is(feasible_jax):
    status, printed = feasible_jax("unlearn", "--help")
    assert status == 0
    for words in ("module:function", "corrupted_labels", "in (0, 1)"):
        assert words in " ".join(printed.replace("│", " ").split())
