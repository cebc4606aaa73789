import importlib
import json
from pathlib import Path

import jax
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def frontier(monkeypatch):
    """The script, with the import path and the JAX settings that it has."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield importlib.import_module("frontier")


def options(frontier, folder, **changes):
    files = {"results": folder / "r.json", "table": folder / "t.md", "plot": folder / "p.svg"}
    return frontier.Options(
        folder=folder / "cells", smoke=True, scenarios=("random",), methods=("gradient_ascent",),
        arms=("none", "soft_curvature", "soft_curvature_certified"), **files, **changes,
    )  # fmt: skip


def test_a_smoke_run_writes_everything_and_does_nothing_twice(
    frontier, tmp_path, monkeypatch, quick_compilation
):
    frontier.main(options(frontier, tmp_path))
    rows = {row["arm"]: row for row in json.loads((tmp_path / "r.json").read_text())["rows"]}
    assert set(rows) == {"reference", "none", "soft_curvature", "soft_curvature_certified"}
    assert [len(rows[arm]["search"]) for arm in ("none", "soft_curvature")] == [3, 3]
    certified = rows["soft_curvature_certified"]
    assert certified["setting"] == rows["soft_curvature"]["setting"], "taken over, not searched"
    assert 0 <= certified["accepted"] <= 1
    table = (tmp_path / "t.md").read_text()
    for label in ("original", "retrained", "no mask", "soft coordinatewise, curvature"):
        assert f"| {label} |" in table
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")

    def never(*args):
        raise AssertionError("a finished cell was run again")

    monkeypatch.setattr(frontier, "run_trial", never)
    frontier.main(options(frontier, tmp_path))
