import jax
import numpy as np
import pytest

from feasible_jax.evaluation import evaluate, utility_gap
from feasible_jax.experiments import make_feasibility, make_method
from feasible_jax.experiments.config import SearchConfig
from feasible_jax.experiments.search import best_trial, search

CONFIG = SearchConfig(steps=6, look_every=3, batch_size=16)


@pytest.fixture(scope="module")
def trials(built):
    reference = evaluate(built.task, built.task.retrained)
    looks = []
    found = search(
        built.task, reference, make_method("gradient_ascent", 10), make_feasibility("feasible"),
        CONFIG, (0.01, 0.3), 0, lambda *event: looks.append(event),
    )  # fmt: skip
    return found, looks, reference


def test_each_trial_is_kept_at_its_best_look(trials, built):
    found, looks, reference = trials
    assert [(rate, step) for rate, step, _ in looks] == [
        (r, s) for r in (0.01, 0.3) for s in (3, 6)
    ]
    for trial in found:
        gaps = {step: gap for rate, step, gap in looks if rate == trial.learning_rate}
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
    args = (reference, method, make_feasibility("feasible"), CONFIG, (0.3,), 0)
    here, there = search(built.task, *args)[0], search(task, *args)[0]
    assert (here.gap, here.steps) == (there.gap, there.steps)
    for a, b in zip(jax.tree.leaves(here.params), jax.tree.leaves(there.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_diverging_run_is_noted_not_raised(built):
    reference = evaluate(built.task, built.task.retrained)
    method = make_method("gradient_ascent", 10)
    trial = search(built.task, reference, method, None, CONFIG, (1e30,), 0)[0]
    assert "not finite" in trial.note
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trial.params))
