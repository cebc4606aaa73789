import jax
import numpy as np
import pytest

import feasible_jax as fj
from feasible_jax.evaluation import evaluate, utility_gap
from feasible_jax.evaluation.utility import UTILITY_METRICS
from feasible_jax.experiments import make_feasibility, make_method
from feasible_jax.experiments import search as search_module
from feasible_jax.experiments.config import SearchConfig
from feasible_jax.experiments.search import Setting, best_trial, search, search_of, settings_of

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


def test_a_one_shot_method_tries_parts_of_its_edit_in_one_step_each(built, monkeypatch):
    method = make_method("ssd", 10)
    config = search_of(method, SearchConfig(learning_rates=(0.1, 0.2), steps=6, look_every=3))
    assert (config.steps, config.look_every, config.learning_rates) == (1, 1, (0.5, 1.0))
    runs = []
    monkeypatch.setattr(
        search_module, "unlearn", lambda *a, **kw: runs.append(kw) or fj.unlearn(*a, **kw)
    )
    reference = evaluate(built.task, built.task.retrained)
    half, whole = search(built.task, reference, method, None, config, settings_of(config, False), 0)
    assert (half.steps, whole.steps) == (1, 1)
    for h, w, p in zip(*map(jax.tree.leaves, (half.params, whole.params, built.task.params)),
                       strict=True):  # fmt: skip
        np.testing.assert_allclose(h, (w + p) / 2, atol=1e-6)
    assert any((w != p).any() for w, p in zip(
        *map(jax.tree.leaves, (whole.params, built.task.params)), strict=True
    ))  # fmt: skip
    # What is timed is not the run that compiled.
    assert ["on_chunk" in kwargs for kwargs in runs] == [False, True] * 2


def test_other_methods_search_as_they_are_told():
    config = SearchConfig(learning_rates=(0.1, 0.2))
    assert search_of(make_method("sfron", 10), config) is config


def test_preparation_counts_as_run_time(built, monkeypatch):
    monkeypatch.setattr(search_module, "seconds_to_prepare", lambda *args: 1000.0)
    method = make_method("gradient_ascent", 10)
    trial = search(
        built.task, dict.fromkeys(UTILITY_METRICS, 0.0), method, None, CONFIG, (Setting(0.01),), 0
    )[0]
    assert 1000 < trial.seconds < 1060


def test_the_confidence_reaches_the_test(trials):
    found, _, _ = trials
    assert found[0].history.kept[0] > found[1].history.kept[0]
