import jax
import numpy as np
import pytest

from feasible_jax.evaluation import evaluate, utility_gap
from feasible_jax.experiments import make_feasibility, make_method
from feasible_jax.experiments.config import SearchConfig
from feasible_jax.experiments.search import Setting, best_trial, search, settings_of

CONFIG = SearchConfig(steps=6, look_every=3, batch_size=16)
SETTINGS = (Setting(0.01, 0.6), Setting(0.3, 0.9))


@pytest.fixture(scope="module")
def trials(built):
    reference = evaluate(built.task, built.task.retrained)
    looks = []
    found = search(
        built.task, reference, make_method("gradient_ascent", 10), make_feasibility("feasible"),
        CONFIG, SETTINGS, 0, lambda *event: looks.append(event),
    )  # fmt: skip
    return found, looks, reference


def test_each_trial_is_kept_at_its_best_look(trials, built):
    found, looks, reference = trials
    assert [(where, step) for where, step, _ in looks] == [(w, s) for w in SETTINGS for s in (3, 6)]
    for trial in found:
        gaps = {step: gap for setting, step, gap in looks if setting == trial.setting}
        assert trial.gap == min(gaps.values()) == gaps[trial.steps]
        assert utility_gap(built.task, trial.params, reference) == trial.gap
        assert 0 < trial.seconds < 60
        assert len(trial.history.kept) == 6
    assert best_trial(found).gap == min(trial.gap for trial in found)


def test_the_test_set_has_no_say(trials, built):
    _, _, reference = trials
    other = built.task.test._replace(labels=(np.asarray(built.task.test.labels) + 1) % 10)
    task = type(built.task)(**vars(built.task) | {"test": other})
    method = make_method("gradient_ascent", 10)
    args = (reference, method, make_feasibility("feasible"), CONFIG, (Setting(0.3, 0.9),), 0)
    here, there = search(built.task, *args)[0], search(task, *args)[0]
    assert (here.gap, here.steps) == (there.gap, there.steps)
    for a, b in zip(jax.tree.leaves(here.params), jax.tree.leaves(there.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_diverging_run_is_noted_not_raised(built):
    reference = evaluate(built.task, built.task.retrained)
    method = make_method("gradient_ascent", 10)
    trial = search(built.task, reference, method, None, CONFIG, (Setting(1e30),), 0)[0]
    assert "not finite" in trial.note
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trial.params))


def test_a_second_hyper_parameter_buys_no_further_trials():
    config = SearchConfig(learning_rates=(0.1, 0.2, 0.3), confidences=(0.6, 0.9))
    assert len(settings_of(config, True)) == len(settings_of(config, False)) == 3
    assert [s.confidence for s in settings_of(config, True)] == [0.6, 0.9, 0.6]
    assert {s.confidence for s in settings_of(config, False)} == {None}


def test_the_confidence_reaches_the_test(trials):
    found, _, _ = trials
    assert found[0].history.kept[0] > found[1].history.kept[0]
