import importlib
import json
from pathlib import Path

import jax
import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def as_a_script(monkeypatch):
    """The import path and the JAX settings that the script has."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def calibration():
    return importlib.import_module("calibration")


def run(calibration, folder, *args):
    out = ["--smoke", "--cache", str(folder / "cache"), "--out", str(folder / "r.json")]
    calibration.main([*out, *args])
    return json.loads((folder / "r.json").read_text())


def test_a_smoke_run_writes_results_tables_and_plot(calibration, tmp_path, quick_compilation):
    files = {name: tmp_path / name for name in ("t.md", "s.md", "p.svg")}
    written = ["--table", files["t.md"], "--summary", files["s.md"], "--plot", files["p.svg"]]
    results = run(calibration, tmp_path, *map(str, written))
    kinds = [name.split("/")[0] for name in results["parts"]]
    assert [kinds.count(kind) for kind in calibration.KINDS] == [14, 1, 2, 1]
    assert (tmp_path / "cache").is_dir()
    for name, rows in results["parts"].items():
        for row in rows:
            if "size" in row:
                assert all(0 <= count <= row["draws"] for count in row["size"] + row["power"]), name
            elif "rule" in row:
                assert row["slope_up"] <= row["applied"] <= row["draws"] == 2
            else:
                assert row["loss_up"] <= row["applied"] <= row["steps"] == 3
    text = files["t.md"].read_text()
    for heading in ("Size at 5% in percent, B = 64", "Rules, with and without", "Whole runs"):
        assert f"## {heading}" in text
    assert "| coordinatewise |" in files["s.md"].read_text()
    assert "<svg" in files["p.svg"].read_text()


def test_resume_measures_only_what_is_missing(calibration, tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr(
        calibration, "synthetic", lambda options, population: measured.append(population.name) or []
    )
    run(calibration, tmp_path, "--kinds", "synthetic")
    path = tmp_path / "r.json"
    results = json.loads(path.read_text())
    del results["parts"]["synthetic/normal"]
    importlib.import_module("calibration_results").write(results, path)
    again = run(calibration, tmp_path, "--kinds", "synthetic", "--resume")
    assert measured[14:] == ["normal"]
    assert len(again["parts"]) == 14


def test_results_are_not_overwritten_or_mixed(calibration, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "synthetic", lambda options, population: [])
    run(calibration, tmp_path, "--kinds", "synthetic")
    with pytest.raises(SystemExit, match="--resume"):
        run(calibration, tmp_path, "--kinds", "synthetic")
    monkeypatch.setitem(calibration._SMOKE, "draws", 41)
    with pytest.raises(SystemExit, match="cannot be resumed: its settings"):
        run(calibration, tmp_path, "--kinds", "synthetic", "--resume")
    with pytest.raises(SystemExit, match="no kind 'unreal'"):
        run(calibration, tmp_path, "--kinds", "unreal")


def test_populations_have_mean_0_deviation_1_and_their_bound():
    populations = importlib.import_module("calibration_populations").POPULATIONS
    assert len(populations) == 14
    for population in populations:
        values = population.draw(np.random.default_rng(0), (400_000,))
        heavy = "1.5" in population.name or "Pareto" in population.name or "t," in population.name
        assert abs(values.mean()) < 0.01, population.name
        assert values.std() == pytest.approx(1, abs=0.15 if heavy else 0.02), population.name
        if population.worst is not None:
            assert values.max() <= population.worst, population.name


def test_intervals_are_those_of_clopper_and_pearson():
    share = importlib.import_module("calibration_counts").Share
    assert share(0, 100).interval() == pytest.approx((0.0, 0.0362), abs=1e-4)
    assert share(5, 100).interval() == pytest.approx((0.0164, 0.1128), abs=1e-4)
    assert share(100, 100).interval() == pytest.approx((0.9638, 1.0), abs=1e-4)


def test_harm_is_counted_of_the_applied_and_of_all_draws():
    violations = importlib.import_module("calibration_violations")
    row = {"rule": "budget", "certificate": "none", "draws": 50, "applied": 40, "slope_up": 10}
    row |= {"loss_known": 8, "loss_up": 4, "rise": 0.2}
    of_applied, of_draws = violations.harm([row, row], "budget", "none", "slope")
    assert (of_applied, of_draws) == ((20, 80), (20, 100))
    of_applied, of_draws = violations.harm([row, row], "budget", "none", "loss")
    assert (of_applied, of_draws) == ((8, 16), (8, 20))
