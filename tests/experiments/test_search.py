import jax
import numpy as np
import pytest

import feasible_jax as fj
from feasible_jax.evaluation import evaluate, utility_gap, utility_scores
from feasible_jax.evaluation.utility import UTILITY_METRICS
from feasible_jax.experiments import make_feasibility, make_method
from feasible_jax.experiments import run_arm as run_arm_module
from feasible_jax.experiments import search as search_module
from feasible_jax.experiments.arms import ARMS
from feasible_jax.experiments.config import SearchConfig
from feasible_jax.experiments.search import (
    EQUAL_UTILITY,
    Setting,
    closest_trial,
    equal_utility_trial,
    search,
    search_of,
    settings_of,
)

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
        look, params, seconds = trial.closest
        assert look.gap == min(gaps.values()) == gaps[look.step]
        assert utility_gap(built.task, params, reference) == look.gap
        assert 0 < seconds < 60
        assert len(trial.history.kept) == 6
        assert [seen.step for seen in trial.looks] == [3, 6]
    least = min(trial.closest.look.gap for trial in found)
    assert closest_trial(found).closest.look.gap == least


def test_at_equal_utility_it_is_kept_where_most_is_forgotten_and_nothing_lost(trials, built):
    found, _, _ = trials
    original = utility_scores(built.task, built.task.params)
    floor = original["remaining_accuracy"] - EQUAL_UTILITY
    for trial in found:
        useful = [look.forget for look in trial.looks if look.remaining >= floor]
        kept = trial.equal_utility
        assert kept.look.forget == min([original["forget_accuracy"], *useful])
        scores = utility_scores(built.task, kept.params)
        assert (scores["forget_accuracy"], scores["remaining_accuracy"]) == kept.look[2:]
    assert any(trial.equal_utility.look.step for trial in found), "or nothing is tested here"
    least = min(trial.equal_utility.look.forget for trial in found)
    assert equal_utility_trial(found).equal_utility.look.forget == least


def test_where_all_utility_is_lost_the_original_model_is_kept(built):
    reference = evaluate(built.task, built.task.retrained)
    method = make_method("gradient_ascent", 10)
    trial = search(built.task, reference, method, None, CONFIG, (Setting(30.0),), 0)[0]
    assert trial.equal_utility.look.step == 0
    assert trial.equal_utility.params is built.task.params


def test_the_test_set_has_no_say(trials, built):
    _, _, reference = trials
    other = built.task.test._replace(labels=(np.asarray(built.task.test.labels) + 1) % 10)
    task = type(built.task)(**vars(built.task) | {"test": other})
    method = make_method("gradient_ascent", 10)
    args = (reference, method, make_feasibility("feasible"), CONFIG, (Setting(0.3, 0.9),), 0)
    here, there = search(built.task, *args)[0], search(task, *args)[0]
    for name in ("closest", "equal_utility"):
        one, other = getattr(here, name), getattr(there, name)
        assert one.look == other.look
        for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_diverging_run_is_noted_not_raised(built):
    reference = evaluate(built.task, built.task.retrained)
    method = make_method("gradient_ascent", 10)
    trial = search(built.task, reference, method, None, CONFIG, (Setting(1e30),), 0)[0]
    assert "not finite" in trial.note
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trial.closest.params))


def test_a_second_hyper_parameter_buys_no_further_trials():
    config = SearchConfig(learning_rates=(0.1, 0.2, 0.3), confidences=(0.6, 0.9))
    feasible, plain = (settings_of(config, ARMS[arm]) for arm in ("feasible", "plain"))
    assert len(feasible) == len(plain) == 3
    assert [s.confidence for s in feasible] == [0.6, 0.9, 0.6]
    assert {s.confidence for s in plain} == {None}


def test_an_arm_that_prices_curvature_tries_larger_rates_but_no_more_of_them():
    config = SearchConfig(learning_rates=(0.1, 0.2))
    rates = [s.learning_rate for s in settings_of(config, ARMS["feasible_curvature"])]
    assert rates == pytest.approx([1.0, 2.0])
    one_shot = search_of("ssd", config)
    rates = [s.learning_rate for s in settings_of(one_shot, ARMS["feasible_curvature"])]
    assert rates == pytest.approx([0.5, 1.0])


def test_a_one_shot_method_tries_parts_of_its_edit_in_one_step_each(built, monkeypatch):
    method = make_method("ssd", 10)
    config = search_of("ssd", SearchConfig(learning_rates=(0.1, 0.2), steps=6, look_every=3))
    assert (config.steps, config.look_every, config.learning_rates) == (1, 1, (0.5, 1.0))
    runs = []
    monkeypatch.setattr(
        run_arm_module, "unlearn", lambda *a, **kw: runs.append(kw) or fj.unlearn(*a, **kw)
    )
    reference = evaluate(built.task, built.task.retrained)
    half, whole = search(
        built.task, reference, method, None, config, settings_of(config, ARMS["plain"]), 0
    )
    assert (half.closest.look.step, whole.closest.look.step) == (1, 1)
    half, whole = half.closest.params, whole.closest.params
    for h, w, p in zip(*map(jax.tree.leaves, (half, whole, built.task.params)), strict=True):
        np.testing.assert_allclose(h, (w + p) / 2, atol=1e-6)
    assert any((w != p).any() for w, p in zip(
        *map(jax.tree.leaves, (whole, built.task.params)), strict=True
    ))  # fmt: skip
    # What is timed is not the run that compiled.
    assert len(runs) == 4


def test_other_methods_search_as_they_are_told():
    config = SearchConfig(learning_rates=(0.1, 0.2))
    assert search_of("sfron", config) is config


def test_a_method_with_its_own_optimizer_searches_around_its_own_rate(built, monkeypatch):
    config = search_of("scrub", SearchConfig(learning_rates=(0.05, 0.1), steps=4, look_every=2))
    assert config.learning_rates == pytest.approx((0.001, 0.002))
    assert (config.steps, config.look_every) == (4, 2)
    optimizers = []

    def unlearn(*args, optimizer, **kwargs):
        optimizers.append(optimizer)
        return fj.unlearn(*args, optimizer=optimizer, **kwargs)

    monkeypatch.setattr(run_arm_module, "unlearn", unlearn)
    args = (built.task, dict.fromkeys(UTILITY_METRICS, 0.0), make_method("scrub", 10), None, config)
    with jax.numpy_dtype_promotion("standard"):  # Optax's Adam refuses strict promotion
        (trial,) = search(*args, (Setting(0.002),), 0, optimizer="adam")
        states = [optimizer.init({"w": np.zeros(2)}) for optimizer in optimizers]
    assert all(hasattr(state.inner_state[0], "nu") for state in states), "no second moments"
    # Adam's first steps are as long as its rate, whatever the gradient.
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), trial.closest.params, built.task.params)
    steps = trial.closest.look.step
    assert 0.002 * 0.5 < max(jax.tree.leaves(moved)) <= 0.002 * steps * 1.5


def test_preparation_counts_as_run_time(built, monkeypatch):
    monkeypatch.setattr(search_module, "seconds_to_prepare", lambda *args: 1000.0)
    method = make_method("gradient_ascent", 10)
    trial = search(
        built.task, dict.fromkeys(UTILITY_METRICS, 0.0), method, None, CONFIG, (Setting(0.01),), 0
    )[0]
    assert 1000 < trial.closest.seconds < 1060


def test_the_confidence_reaches_the_test(trials):
    found, _, _ = trials
    assert found[0].history.kept[0] > found[1].history.kept[0]


def test_a_method_that_goes_back_is_kept_where_it_went(built, monkeypatch):
    results = []
    monkeypatch.setattr(
        run_arm_module,
        "unlearn",
        lambda *args, **kwargs: results.append(fj.unlearn(*args, **kwargs)) or results[-1],
    )
    config = SearchConfig(steps=40, look_every=4, batch_size=32)
    reference = utility_scores(built.task, built.task.retrained)
    with jax.numpy_dtype_promotion("standard"):  # Optax's Adam refuses strict promotion
        (back,) = search(
            built.task, reference, make_method("scrub_r", 10), None, config, (Setting(0.02),), 0,
            optimizer="adam",
        )  # fmt: skip
    went = results[-1].rewound_to
    assert back.closest.look.step == went
    assert back.closest.params is results[-1].params
    nearest = min(back.looks, key=lambda look: look.gap).step
    assert went != nearest, "or nothing is told apart here"
