import os
from dataclasses import replace

import pytest
from rich.console import Console

from feasible_jax.experiments import study as study_module
from feasible_jax.experiments.arms import ARMS, METHODS, make_method
from feasible_jax.experiments.suite import ARMS as SUITE_ARMS
from feasible_jax.experiments.suite import COMPARISON, SuiteConfig, _workers, headline, run_suite
from feasible_jax.experiments.suite import METHODS as SUITE_METHODS
from feasible_jax.methods.one_shot import is_one_shot

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def suite(tiny):
    study = replace(tiny, methods=("gradient_ascent",), arms=("plain", "feasible"))
    return SuiteConfig((replace(study, equal_utility=True),))


def test_the_headline_is_what_it_promises():
    studies = headline().studies
    assert [(s.task.dataset, s.task.model) for s in studies] == [
        ("digits", "mlp"), ("fashion_mnist", "cnn"),
    ]  # fmt: skip
    for study in studies:
        assert len(set(study.methods)) >= 10
        assert study.seeds == 5
        assert set(study.scenarios) == {"random", "class", "corrupted_labels"}
        assert study.equal_utility
    assert set(SUITE_ARMS) <= set(ARMS)
    assert set(SUITE_METHODS) <= set(METHODS)
    assert [s.task.model for s in headline(("digits",), ("mlp", "cnn")).studies] == ["mlp", "cnn"]
    one_shot = {name for name in METHODS if is_one_shot(make_method(name, 10))}
    assert set(COMPARISON) == one_shot, "no other is too short to be masked step by step"
    assert not one_shot & set(SUITE_METHODS)


def test_what_is_masked_is_not_compared_with_besides(tmp_path):
    (study,) = headline(("digits",), methods=("ssd", "salun")).studies
    assert study.comparison == ("fisher_forgetting", "influence_unlearning")
    with pytest.raises(ValueError, match="none of methods"):
        run_suite(headline(("digits",), methods=("ssd",), comparison=("ssd",)), tmp_path)


def test_methods_of_the_comparison_run_in_the_plain_arm_alone(suite, tmp_path):
    study = replace(suite.studies[0], comparison=("ssd",), seeds=1)
    ((_, found),) = run_suite(SuiteConfig((study,)), tmp_path, console=QUIET).studies.items()
    arms = [(r["method"], r["arm"]) for r in found.rows if r["arm"] != "reference"]
    assert arms == [
        ("gradient ascent", "feasible"), ("gradient ascent", "plain"), ("SSD", "plain"),
    ]  # fmt: skip
    assert [row["method"] for row in found.equal_utility].count("SSD") == 1


def test_what_is_given_is_set_and_what_is_not_there_refused():
    assert headline(("digits",), seeds=2, steps=None).studies[0].seeds == 2
    with pytest.raises(ValueError, match="no setting named 'colour'"):
        headline(colour="red")


def test_a_suite_keeps_every_run_by_both_measures_and_does_nothing_twice(
    suite, tmp_path, monkeypatch
):
    ((name, found),) = run_suite(suite, tmp_path, console=QUIET).studies.items()
    assert name == "digits-mlp"
    runs = [(r["method"], r["arm"], r["seed"]) for r in found.rows if r["arm"] != "reference"]
    assert runs == [(r["method"], r["arm"], r["seed"]) for r in found.equal_utility]
    assert len(runs) == 2 * 2
    for row in found.equal_utility:
        assert row["unlearning_accuracy"] is not None
    assert {front["arm"] for front in found.curves["fronts"]} == {"plain", "feasible"}
    assert all(len(f["unlearning"]) == len(f["remaining"]) == 4 for f in found.curves["fronts"])
    monkeypatch.setattr(study_module, "search", pytest.fail)
    again = run_suite(suite, tmp_path, console=QUIET).studies[name]
    assert again.rows == found.rows
    assert list(again.equal_utility) == list(found.equal_utility)


def test_mistakes_are_found_before_anything_runs(suite, tmp_path):
    with pytest.raises(ValueError, match="jobs=0"):
        run_suite(suite, tmp_path, jobs=0)
    with pytest.raises(ValueError, match="same dataset and model"):
        run_suite(SuiteConfig(suite.studies * 2), tmp_path)
    wrong = replace(suite.studies[0], methods=("magic",), task=replace(suite.studies[0].task))
    other = replace(wrong, task=replace(wrong.task, model="cnn"))
    with pytest.raises(ValueError, match="no method named 'magic'"):
        run_suite(SuiteConfig((suite.studies[0], other)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_worker_that_dies_is_told_of_and_what_to_do():
    told = pytest.raises(ChildProcessError, match="run the same again, with fewer jobs")
    with told, _workers(1) as pool:
        pool.submit(os._exit, 1).result()
