"""The recipes run as they stand, and do what their page says."""

import runpy
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

_FOLDER = Path(__file__).parents[2] / "docs" / "examples"
_PAGE = _FOLDER.parent / "recipes.md"


@pytest.fixture
def run(monkeypatch, quick_compilation):
    """``name -> dict``: what a recipe leaves behind, run as users run it."""
    monkeypatch.syspath_prepend(_FOLDER)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield lambda name: runpy.run_path(str(_FOLDER / f"{name}.py"))
    sys.modules.pop("flowers", None)


def forgot_and_kept(before, after, kept):
    return (
        after["forget"] > before["forget"] and after["retain"] < before["retain"] and 0 < kept < 1
    )


@pytest.mark.parametrize("name", ["nnx_optimizer", "linen_train_state", "equinox_module"])
def test_model_libraries(run, name):
    found = run(name)
    assert forgot_and_kept(found["before"], found["after"], found["kept"])
    if name == "linen_train_state":
        assert found["state"].step == 10


def test_frozen_weights_stay_and_are_no_constants(run):
    found = run("lora")
    assert forgot_and_kept(found["before"], found["after"], found["kept"])
    assert all(np.any(adapter["up"] != 0) for adapter in found["adapters"])
    step, given = found["step"], (found["adapters"], found["state"])
    weights = (found["frozen"], jax.tree.map(jnp.negative, found["frozen"]))
    here, there = (step(*given, frozen, jax.random.key(0))[0] for frozen in weights)
    assert np.any(here[1]["up"] != there[1]["up"])
    assert step._cache_size() == 1


def test_base_optimizers(run):
    found = run("base_optimizers")
    for after, kept in found["found"].values():
        assert forgot_and_kept(found["before"], after, kept)


def test_a_group_of_ones_own_is_protected(run):
    found = run("protected_group")
    before, after = found["before"], found["after"]
    assert after["forget"] > before["forget"]
    assert after["retain"] < before["retain"]
    assert after["group"] < before["group"]
    history = found["result"].history
    assert set(history.pass_rate) == {"retain", "group", "forget"}
    assert set(history.certificates.p_value) == {"retain", "group"}


def test_microbatches(run):
    found = run("microbatches")
    assert found["moved"] == ([False] * 3 + [True]) * 3
    assert forgot_and_kept(found["before"], found["after"], found["kept"])


def test_every_recipe_stands_on_the_page():
    text = _PAGE.read_text(encoding="utf-8")
    for path in _FOLDER.glob("*.py"):
        assert path.name == "my_task.py" or f"{{literalinclude}} examples/{path.name}" in text
