import pytest

from feasible_jax.experiments.config import SingleConfig
from feasible_jax.experiments.resolve_task import load_task_function, resolve_task

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

def wrong():
    return 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "my_own_task.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))


def test_a_function_of_the_working_directory_is_found(here):
    config = SingleConfig(task_function="my_own_task:make")
    built = resolve_task(config, pytest.fail, progress=False)
    assert built.task.name == "mine"
    assert built.retrained_seconds is None


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("my_own_task", ValueError, "module:function"),
        ("my_own_task:no.dots", ValueError, "module:function"),
        ("my_own_task:missing", ImportError, "no function 'missing'"),
        ("no_such_module_here:make", ImportError, "no_such_module_here"),
        ("my_own_task:wrong", TypeError, "returned a int"),
    ],
)
def test_what_is_wrong_is_named(here, name, error, text):
    with pytest.raises(error, match=text):
        load_task_function(name)
