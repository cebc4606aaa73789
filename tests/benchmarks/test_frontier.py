import importlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from feasible_jax.unlearning.transformation import init_state

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def frontier(monkeypatch):
    """The script, with the import path and the JAX settings that it has."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield importlib.import_module("frontier")


def options(frontier, folder, **changes):
    files = {"results": folder / "r.json", "table": folder / "t.md", "plot": folder / "p.svg"}
    given = {"arms": ("none", "random_mask", "curvature_certified")} | files | changes
    return frontier.Options(
        folder=folder / "cells", smoke=True, scenarios=("random",), methods=("gradient_ascent",),
        **given,
    )  # fmt: skip


def test_a_smoke_run_writes_everything_and_does_nothing_twice(
    frontier, tmp_path, monkeypatch, quick_compilation
):
    frontier.main(options(frontier, tmp_path))
    rows = {row["arm"]: row for row in json.loads((tmp_path / "r.json").read_text())["rows"]}
    arms = {"reference", "none", "coordinatewise", "random_mask", "curvature"}
    assert set(rows) == arms | {"curvature_certified"}, "and those whose setting they take over"
    assert {len(rows[arm]["search"]) for arm in arms - {"reference"}} == {4}
    certified = rows["curvature_certified"]
    assert certified["setting"] == rows["curvature"]["setting"], "taken over, not searched"
    assert 0 <= certified["accepted"] <= 1
    table = (tmp_path / "t.md").read_text()
    for label in ("original", "retrained", "no mask", "coordinatewise, curvature"):
        assert f"| {label} |" in table
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")

    def never(*args):
        raise AssertionError("a finished cell was run again")

    monkeypatch.setattr(frontier, "run_trial", never)
    frontier.main(options(frontier, tmp_path))
    frontier.main(options(frontier, tmp_path, time=True))
    times = json.loads((tmp_path / "r.json").read_text())["step_seconds"]
    assert {time["arm"] for time in times} == {"none", "random_mask", "curvature_certified"}
    assert all(isinstance(time["seconds"], float) for time in times)


def test_a_ramp_begins_after_the_warmup_and_scales_the_rate_that_is_set(frontier):
    arms = importlib.import_module("frontier_arms")
    tx = arms.make_optimizer(arms.Setting(4.0, ramp_steps=2), 3)
    state = init_state(tx, jnp.zeros(()), {"learning_rate": 4.0})
    rates = []
    for _ in range(7):
        update, state = tx.update(jnp.ones(()), state)
        rates.append(-float(update))
    assert rates == [0, 0, 0, 0, 2, 4, 4]


def test_unknown_arms_are_refused(frontier, tmp_path):
    with pytest.raises(ValueError, match=r"arms names 'soft'.*'curvature'"):
        frontier.main(options(frontier, tmp_path, arms=("soft",)))
