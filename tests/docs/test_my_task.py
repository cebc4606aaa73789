"""The example of the command-line page is a task that can be unlearned."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import feasible_jax as fj

_PATH = Path(__file__).parents[2] / "docs" / "examples" / "my_task.py"


@pytest.fixture(autouse=True)
def as_users_run_it():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def make_task():
    spec = importlib.util.spec_from_file_location("my_task", _PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_task


def test_builds_the_same_task_twice_and_unlearns_three_steps(make_task):
    task, again = make_task(), make_task()
    for a, b in zip(jax.tree.leaves(task.params), jax.tree.leaves(again.params), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(task.forget.inputs, again.forget.inputs)

    result = fj.unlearn(
        task.loss_fn,
        task.params,
        forget=task.forget,
        retain=task.retain,
        method=fj.methods.neg_grad_plus(),
        optimizer=optax.sgd(0.1),
        feasibility=fj.feasible_updates(decrease=("retain",), increase=("forget",)),
        steps=3,
        progress=False,
    )
    assert result.history.kept.shape == (3,)
    assert result.stop is None
    moved = [
        np.any(np.asarray(a) != np.asarray(b))
        for a, b in zip(jax.tree.leaves(task.params), jax.tree.leaves(result.params), strict=True)
    ]
    assert any(moved)


def test_predicts_the_training_images(make_task):
    task = make_task()
    for params in (task.params, task.retrained):
        predicted = np.asarray(task.predict_fn(params, task.retain.inputs)).argmax(-1)
        assert np.mean(predicted == task.retain.labels) > 0.95
