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


def test_harm_is_counted_of_the_applied_of_the_harmful_and_of_all_draws():
    violations = importlib.import_module("calibration_violations")
    none = {"rule": "budget", "certificate": "none", "draws": 50, "applied": 40, "slope_up": 10}
    none |= {"loss_known": 8, "loss_up": 4, "rise": 0.2}
    loss = none | {"certificate": "loss", "applied": 6, "slope_up": 2, "loss_known": 6}
    rows = [none, none, loss, loss]
    assert violations.of_applied(rows, "budget", "none", "slope") == (20, 80)
    assert violations.of_applied(rows, "budget", "loss", "slope") == (4, 12)
    assert violations.of_applied(rows, "budget", "none", "loss") == (8, 16)
    assert violations.of_harmful(rows, "budget", "loss") == (4, 20)
    assert violations.of_harmless(rows, "budget", "loss") == (8, 60)
    assert violations.of_draws(rows, "budget", "none") == (8, 20)
    assert violations.of_draws(rows, "budget", "loss") == (8, 100)


def test_what_a_batch_misses_is_the_fewest_examples_that_do_the_harm():
    missed = importlib.import_module("calibration_missed").missed
    rng, size = np.random.default_rng(0), 64
    rare, skewed = np.r_[np.ones(50), np.full(950, -1 / 19)], rng.lognormal(sigma=2, size=400)
    for population in (rare, skewed):
        ordered = np.sort(population - population.mean())
        for k in range(1, len(ordered)):
            rest = ordered[: len(ordered) - k]
            if rest.mean() * np.sqrt(size) <= -4 * rest.std():
                break
        assert 1 < k <= 50
        wanted = (1 - k / len(ordered)) ** size
        np.testing.assert_allclose(missed(population, size), wanted, rtol=1e-9)
    np.testing.assert_allclose(missed(3 * skewed + 1, size), missed(skewed, size), rtol=1e-9)
    assert missed(rng.normal(size=400), size) < 1e-6
    assert missed(np.zeros(10), size) == 0


def test_a_test_certifies_at_the_boundary_as_often_as_a_batch_misses_the_harm():
    missed = importlib.import_module("calibration_missed").missed
    tests, rng = importlib.import_module("calibration_tests"), np.random.default_rng(1)
    population = np.r_[np.full(20, 30.0), rng.normal(-600 / 980, 1, 980)]
    population -= population.mean()
    share = missed(population, 64)
    assert 0.2 < share < 0.4
    for row in tests.cells(lambda n: population[rng.integers(0, 1000, (n, 64))], 64, None, 500, 50):
        if row["test"] in ("gaffke", "student"):
            expected = 500 * share
            assert row["size"][1] > expected - 4 * np.sqrt(expected), row["test"]
