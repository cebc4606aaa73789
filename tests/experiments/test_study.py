import json
from dataclasses import replace

import pytest
from rich.console import Console

from feasible_jax.evaluation import YARDSTICKS
from feasible_jax.experiments import preset, run_study
from feasible_jax.experiments import study as study_module
from feasible_jax.experiments.ledger import Ledger, plain

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def study(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, run_study(tiny, folder, QUIET)


def test_every_cell_has_a_row_with_every_yardstick(study, tiny):
    _, result = study
    arms = {"plain", "feasible", "random mask", "sign mask"}
    expected = {("original", "reference"), ("retrained", "reference")}
    expected |= {(m, a) for m in ("gradient ascent", "fine-tuning") for a in arms}
    for seed in range(tiny.seeds):
        rows = [row for row in result.rows if row["seed"] == seed]
        assert {(row["method"], row["arm"]) for row in rows} == expected
        assert len(rows) == len(expected)
    for row in result.rows:
        assert {y.name for y in YARDSTICKS if not y.on_request} <= set(row)
        assert row["feasible"] == (row["arm"] == "feasible")
        assert (row["scenario"], row["dataset"]) == ("corrupted_labels", "digits")
    json.dumps(result.rows, allow_nan=False)


def test_the_retrained_model_is_the_reference(study):
    _, result = study
    for row in result.rows:
        if row["method"] == "retrained":
            assert (row["avg_gap"], row["tow"], row["rte_ratio"]) == (0.0, 1.0, 1.0)


def test_only_the_first_seed_searches(study, tiny):
    ledger = Ledger(study[0], plain(tiny))
    first, second = (
        ledger.read(f"corrupted_labels-seed{seed}-fine_tuning-plain") for seed in range(2)
    )
    assert len(first["search"]) == len(tiny.search.learning_rates)
    assert [t["learning_rate"] for t in second["search"]] == [first["row"]["learning_rate"]]


def test_the_random_mask_is_as_dense_as_the_feasible_one(study):
    _, result = study
    rows = {(r["method"], r["arm"]): r for r in result.rows if r["seed"] == 0}
    for method in ("gradient ascent", "fine-tuning"):
        feasible, random = rows[method, "feasible"], rows[method, "random mask"]
        assert random["kept"] == pytest.approx(feasible["kept"], abs=0.02)


def test_curves_are_of_the_first_seed(study):
    _, result = study
    assert [(c["method"], c["arm"]) for c in result.curves["kept"]] == [
        ("gradient ascent", "feasible"),
        ("fine-tuning", "feasible"),
    ]
    for curve in result.curves["kept"]:
        assert all(len(values) == len(curve["steps"]) for values in curve["layers"].values())
    arms = [curve["arm"] for curve in result.curves["histograms"]]
    assert arms.count("reference") == arms.count("plain") == arms.count("feasible") == 2


def test_a_second_call_computes_nothing(study, tiny, monkeypatch):
    folder, result = study
    monkeypatch.setattr(study_module, "search", pytest.fail)
    assert run_study(tiny, folder, QUIET).rows == result.rows


def test_an_interrupted_study_goes_on(study, tiny, tmp_path, monkeypatch):
    _, whole = study
    calls = []
    search = study_module.search

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return search(*args)

    monkeypatch.setattr(study_module, "search", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study(tiny, tmp_path, QUIET)
    resumed = run_study(tiny, tmp_path, QUIET)
    assert len(calls) == 1 + 2 * 2 * 4  # every cell once, and the interrupted one again
    untimed = ("seconds", "step_seconds", "run_seconds", "rte_minutes", "rte_ratio")
    for a, b in zip(resumed.rows, whole.rows, strict=True):
        assert {k: v for k, v in a.items() if k not in untimed} == {
            k: v for k, v in b.items() if k not in untimed
        }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"methods": ("ascent",)}, "no method named"),
        ({"scenarios": "random"}, "scenarios='random'"),
        ({"arms": ("plain", "plain")}, "each once"),
        ({"learning_rates": ()}, r"learning_rates=\(\)"),
        ({"learning_rates": (-0.1,)}, "learning rate -0.1"),
        ({"confidences": (1.5,)}, "confidence 1.5"),
        ({"seeds": 0}, "seeds=0"),
        ({"steps": 0}, "steps=0"),
        ({"batch_size": 1}, "batch_size=1"),
        ({"epochs": 0}, "epochs=0"),
        ({"fraction": 2.0}, "fraction"),
    ],
)
def test_settings_that_cannot_work_fail_before_anything_is_written(tmp_path, changes, text):
    with pytest.raises(ValueError, match=text):
        run_study(preset("digits", **changes), tmp_path / "out", QUIET)
    assert not (tmp_path / "out").exists()


def test_a_study_survives_runs_that_diverge_at_once(tiny, tmp_path):
    search = replace(tiny.search, learning_rates=(1e38,))
    config = replace(tiny, search=search, arms=("plain",), methods=("gradient_ascent",))
    rows = run_study(config, tmp_path, QUIET).rows
    original = next(row for row in rows if row["method"] == "original")
    diverged = next(row for row in rows if row["method"] == "gradient ascent")
    assert "not finite" in diverged["note"]
    assert (diverged["steps"], diverged["seconds"]) == (0, 0.0)
    assert diverged["test_accuracy"] == original["test_accuracy"]
