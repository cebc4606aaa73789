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
    docs = tmp_path / "docs"
    results = run(calibration, tmp_path, "--docs", str(docs))
    kinds = [name.split("/")[0] for name in results["parts"]]
    assert [kinds.count(kind) for kind in calibration.KINDS] == [14, 1, 16, 16, 2, 1]
    assert (tmp_path / "cache").is_dir()
    for name, rows in results["parts"].items():
        assert rows, name
        for row in rows:
            if "passes" in row:
                assert all(0 <= share <= 1 for share in row["passes"] + row["aligned"]), name
                assert all(0 <= count <= row["draws"] for count in row["any"] + row["applied"])
            elif "size" in row:
                assert all(0 <= count <= row["draws"] for count in row["size"] + row["power"]), name
            elif "rule" in row:
                assert row["slope_up"] <= row["applied"] <= row["draws"] == 2
            else:
                assert row["loss_up"] <= row["applied"] <= row["steps"] == 3
                assert row["fall_bound"] is None or -100 <= row["fall_bound"] <= 100
    assert "## Size at 5% in percent, B = 64" in (docs / "calibration_benchmark.md").read_text()
    text = (docs / "calibration_rules_benchmark.md").read_text()
    for heading in ("Rules by themselves", "With a certificate", "Several certificates"):
        assert f"## {heading}" in text
    assert "## Whole runs" in text
    assert "| coordinatewise |" in (docs / "calibration_summary.md").read_text()
    for picture in ("calibration", "calibration_rules"):
        assert "<svg" in (docs / "_static" / f"{picture}.svg").read_text()


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


@pytest.fixture
def normal():
    return importlib.import_module("calibration_populations").POPULATIONS[0]


def within(share, count, draws):
    """Whether a count is what a binomial with this share gives, but for once in thousands."""
    return abs(count - draws * share) <= 4 * np.sqrt(draws * share * (1 - share)) + 1


def test_rules_by_themselves_hold_their_level_on_independent_normal_coordinates(normal):
    masks = importlib.import_module("calibration_masks")
    rules = ("sign mask", "coordinatewise", "coordinatewise, Bonferroni", "projection")
    draws = 400
    rows = masks.synthetic_cells(normal, rules, (64,), draws)
    assert [row["rule"] for row in rows] == list(rules)
    signs, plain, bonferroni, projection = rows
    for level, alpha in enumerate((0.01, 0.05, 0.1, 0.2)):
        many = draws * masks.COORDINATES
        assert within(0.5, many * signs["passes"][level], many)
        assert within(alpha, many * plain["passes"][level], many)
        assert within(alpha / masks.COORDINATES, many * bonferroni["passes"][level], many)
        assert within(1 - (1 - alpha) ** masks.COORDINATES, plain["any"][level], draws)
        assert within(1 - (1 - alpha / 20) ** 20, bonferroni["any"][level], draws)
        assert within(alpha, draws * projection["passes"][level], draws)
        assert plain["aligned"][level] > 0.9 > plain["passes"][level]
    error = np.sqrt(0.05 * 0.95 / (draws * masks.COORDINATES))
    assert plain["passes_error"][1] == pytest.approx(error, rel=0.2)


def test_a_soft_mask_is_counted_by_its_factors(normal):
    masks = importlib.import_module("calibration_masks")
    updates, ones = np.full(3, 1e-5, np.float32), np.ones(3, np.float32)
    share = masks._share(
        "coordinatewise, soft", updates * np.float32([0.5, 1, 0]), updates, ones > 0
    )
    assert float(share) == pytest.approx(0.5)
    tested = np.array([True, False, False])
    share = masks._share("coordinatewise", updates * np.float32([1, 0, 0]), updates, tested)
    assert float(share) == 1
    share = masks._share("projection", updates * np.float32([1, 1, 0.9]), updates, ones > 0)
    assert float(share) == 0


def test_moments_of_a_batch_are_exact_where_no_example_has_a_gradient():
    masks = importlib.import_module("calibration_masks")
    gradients = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    gradients[1:, 3] = 0  # the first example alone carries it
    chosen = np.r_[1:17]
    mean, variance = masks.moments_of_batch(gradients, chosen)
    np.testing.assert_allclose(mean, gradients[chosen].mean(0), rtol=1e-6)
    np.testing.assert_allclose(variance, gradients[chosen].var(0, ddof=1), rtol=1e-5)
    assert mean[3] == variance[3] == 0
    assert gradients[0, 3] != 0  # and is left as it is


def test_certificates_are_asked_at_the_boundary_whatever_the_rule_selected(normal, monkeypatch):
    certified = importlib.import_module("calibration_certified")
    tests = importlib.import_module("calibration_tests")
    monkeypatch.setattr(certified, "_TEST", tests.TESTS["student"])  # exact for normal changes
    draws = 2000
    for row in certified.synthetic_cells(
        normal, ("random mask", "coordinatewise, Bonferroni", "coordinatewise, soft"), (32,), draws
    ):
        assert row["draws"] == draws
        for level, alpha in enumerate((0.01, 0.05, 0.1, 0.2)):
            assert within(alpha, row["size"][level], draws), row
        assert row["power"][1] > 0.98 * draws


def test_real_changes_are_recentred_for_size_and_left_as_they_are_for_harm(monkeypatch):
    certified = importlib.import_module("calibration_certified")
    tests = importlib.import_module("calibration_tests")
    monkeypatch.setattr(certified, "_TEST", tests.TESTS["student"])
    noise = np.random.default_rng(0).normal(size=(4, 5000))
    noise -= noise.mean(1, keepdims=True)
    draws, size, far = 2000, 64, 10 / np.sqrt(64)
    changes = noise + [[0.0001], [far], [-far], [-far]]
    row = certified._real_row(changes, size, draws, np.random.default_rng(1))
    assert (row["updates"], row["harmful"], row["harmless"]) == (4, draws // 2, draws // 2)
    for level, alpha in enumerate((0.01, 0.05, 0.1, 0.2)):
        assert within(alpha, row["size"][level], draws)
        # One of the two harmful ones is at the boundary, the other one never passes.
        assert within(alpha, row["harmful_passed"][level], draws // 4)
        assert row["harmless_passed"][level] >= draws // 2 - 2


def test_errors_are_those_between_updates_where_updates_differ():
    errors = importlib.import_module("calibration_certified")._errors
    which = np.arange(400) % 4
    passed = np.stack([which < 2, np.ones(400, bool)])  # two always pass, two never
    np.testing.assert_allclose(
        errors(passed, which), [np.std([1, 1, 0, 0], ddof=1) / 2, 0], rtol=1e-3
    )
    one = errors(np.arange(400)[None] < 100, np.zeros(400, int))
    np.testing.assert_allclose(one, [np.sqrt(0.25 * 0.75 / 400)], rtol=1e-3)


def test_levels_pool_counts_and_means_over_populations():
    levels = importlib.import_module("calibration_levels").Levels
    row = {"rule": "budget", "B": 64, "scenario": "random", "draws": 100}
    counts = [
        row | {"size": [1, k, 9, 20], "harmful_passed": [0, k, 0, 0], "harmful": harmful}
        for k, harmful in ((3, 200), (7, 100), (9, 99))
    ]
    found = levels("some", counts)
    assert found.real
    assert (found.rules, found.batch_sizes) == (["budget"], [64])
    figure = found.figure("size", "budget", 64, 0.05)
    assert figure.value == pytest.approx(19 / 300)
    assert figure[3:] == (0.03, 0.09)
    assert figure.low < 19 / 300 < figure.high < 0.1
    assert found.share("harmful_passed", "harmful", "budget", 64, 0.05) == (19, 399)
    assert found.largest("harmful_passed", "harmful", "budget", 64, 0.05) == (7, 100)
    assert found.figure("size", "no mask", 64, 0.05) is None
    of_two = levels("two", [counts[0] | {"base": "a"}, counts[1] | {"base": "b"}])
    assert of_two.bases == ["a", "b"]
    assert of_two.of_base("b").figure("size", "budget", 64, 0.05).value == 0.07
    means = [row | {"passes": [m] * 4, "passes_error": [0.03] * 4} for m in (0.2, 0.4)]
    figure = levels("some", means).figure("passes", "budget", 64, 0.2)
    half = 1.96 * 0.03 / np.sqrt(2)
    np.testing.assert_allclose(figure, (0.3, 0.3 - half, 0.3 + half, 0.2, 0.4))


def test_the_tables_of_rules_say_what_the_rows_say():
    report = importlib.import_module("calibration_rules_report")
    levels = importlib.import_module("calibration_levels").Levels
    about = {"B": 256, "scenario": "random", "draws": 100, "rule": "budget"}
    passed = {"harmful": 200, "harmful_passed": [0, 12, 0, 0]}
    passed |= {"harmless": 50, "harmless_passed": [0, 20, 0, 0]}
    tested = [
        about | passed | {"size": [0, k, 0, 0], "power": [0, p, 0, 0]}
        for k, p in ((4, 90), (8, 40))
    ]
    certified = levels("some", tested)
    assert report._tested(certified, "budget", 256, 0.05) == "6.0 (**8.0**) / 65 (**40**)"
    assert report._passed(certified, "budget", 256, 0.05) == "**6.0** (**6.0**) / 40.0"
    assert report._passed(certified, "budget", 256, 0.2) == "0.0 (0.0) / 0.0"
    masked = about | {"passes": [0.1] * 4, "aligned": [0.9] * 4, "any": [7] * 4}
    masked |= {"passes_error": [0.01] * 4, "aligned_error": [0.01] * 4}
    masks = levels("some", [masked | {"applied": [80] * 4, "slope_up": [20] * 4}])
    assert report._passes(masks, "budget", 256, 0.1) == "10.0 (10.0) / 90 (90)"
    assert report._any(masks, "budget", 256, 0.1) == "7.0 (7.0)"
    assert report._harm(masks, "budget", 256, 0.1) == "25.0"
    lines = report._table(masks, report._harm, ["budget"], ["budget"]).splitlines()
    assert lines[2:] == [f"| budget | none | {report._harm(masks, 'budget', 256, 0.05)} |"]
    assert len(report._table(masks, report._harm, ["budget"]).splitlines()) == 6


def test_harm_of_a_mask_is_the_slope_of_what_it_let_pass():
    masks = importlib.import_module("calibration_masks")
    judge = masks._judge(("no mask", "coordinatewise"), masks._as_it_is)
    ones = np.ones(3, np.float32)
    updates = 1e-4 * ones
    for slope, up, applied in (([5, -1, -1], True, True), ([-5, 1, 1], False, True),
                               ([1, 1, 1], True, False)):  # fmt: skip
        slope = np.float32(slope)  # the batch shows exactly it
        verdicts = judge(updates, updates, slope, ones, ones, slope, 64, 0)
        whole, masked = np.asarray(verdicts)[:, 1]  # at 5%
        assert list(whole[3:]) == [1, up]
        assert list(masked[3:]) == [applied, 0]  # what points up does not pass
        assert list(masked[:3]) == [0, 1, 0]  # at the boundary, and four standard errors off it


def test_a_proposal_from_moments_is_the_one_from_the_batch(tmp_path):
    masks = importlib.import_module("calibration_masks")
    task = importlib.import_module("calibration_task")
    truth = importlib.import_module("calibration_truth")
    setting = task.Setting(tmp_path, (0,), True)
    params = task.load_task(setting, "random").params
    gradients = truth.per_example_gradients(task.load_task(setting, "random"), params)
    found = {}
    for base in ("gradient ascent", "NegGrad+"):
        propose = masks._proposal_from_moments(setting, "random", base)
        means = gradients[:5].mean(0), gradients[5:9].mean(0)
        found[base] = np.asarray(propose(params, np.stack(means), jax.random.key(0)))
    np.testing.assert_array_equal(*found["gradient ascent"])  # which takes no retained examples
    rate = task.BASES["NegGrad+"].learning_rate
    moved = found["NegGrad+"][0] - found["NegGrad+"][1]
    np.testing.assert_allclose(moved, -0.6 * rate * (means[0] - means[1]), atol=1e-6)
