import importlib
import json
from pathlib import Path

import jax
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def speed(monkeypatch):
    """The script, with the import path and the JAX settings that it has."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield importlib.import_module("speed")


def test_a_smoke_run_writes_everything_and_does_nothing_twice(
    speed, tmp_path, monkeypatch, quick_compilation
):
    options = speed.Options(
        folder=tmp_path / "runs", variants=("base", "soft_momentum", "certified"), seeds=1,
        smoke=True, results=tmp_path / "r.json", table=tmp_path / "t.md",
    )  # fmt: skip
    speed.main(options)
    rows = {row["variant"]: row for row in json.loads((tmp_path / "r.json").read_text())["rows"]}
    assert list(rows) == ["original", "retrained", "base", "soft_momentum", "certified"]
    assert [look["step"] for look in rows["base"]["looks"]] == [0, 2, 4]
    assert rows["base"]["looks"][-1]["forget"] == rows["base"]["forget"]
    assert rows["base"]["accepted"] is None
    assert 0 <= rows["certified"]["accepted"] <= 1
    for row in list(rows.values())[2:]:
        least = row["looks"][0]["validation"] - 0.5
        useful = [look["forget"] for look in row["looks"] if look["validation"] >= least]
        assert row["useful_forget"] == min(useful)
    fall, bound = (rows["base"][f"test_accuracy_{name}"] for name in ("fall", "fall_bound"))
    assert fall == pytest.approx(rows["original"]["test"] - rows["base"]["test"])
    assert fall < bound < 100
    text = (tmp_path / "t.md").read_text()
    assert "| soft mask, momentum 0.9, rate 1 |" in text
    assert f"| {bound:.1f} | {rows['base']['useful_forget']:.1f}" in text
    monkeypatch.setattr(speed, "_row", pytest.fail)
    speed.main(options)
    assert (tmp_path / "t.md").read_text() == text


def test_the_learning_rate_rises_after_the_warm_up(speed):
    assert speed._rate(speed.VARIANTS["base"]) == 0.05
    variant = speed.VARIANTS["cheaper"]
    rate, end = speed._rate(variant), variant.warmup_steps + variant.ramp_steps
    assert variant.ramp_steps > 0
    assert [float(rate(step)) for step in (variant.warmup_steps, end)] == [0, variant.rate]
    assert 0 < rate(end - 1) < variant.rate
