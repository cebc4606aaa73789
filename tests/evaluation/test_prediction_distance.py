from dataclasses import replace

import numpy as np
import pytest

from feasible_jax.evaluation import js_divergence, kl_divergence, predict
from feasible_jax.evaluation.prediction_distance import prediction_distance


def distance_of(task, params):
    sets = {
        name: predict(task.predict_fn, params, getattr(task, name)) for name in ("forget", "test")
    }
    return prediction_distance(task, sets)


def test_means_over_the_sets_they_name(memorised):
    found = distance_of(memorised, memorised.params)
    for name in ("forget", "test"):
        model, retrained = (
            predict(memorised.predict_fn, params, getattr(memorised, name))
            for params in (memorised.params, memorised.retrained)
        )
        assert found[f"{name}_js"] == js_divergence(model, retrained).mean()
        assert found[f"{name}_kl"] == kl_divergence(model, retrained).mean()
    assert found["forget_kl"] > found["forget_js"] > 0.1


def test_the_retrained_model_is_no_distance_from_itself(memorised):
    found = distance_of(memorised, memorised.retrained)
    assert list(found.values()) == pytest.approx([0.0] * 4, abs=1e-12)


def test_without_a_retrained_model_nothing_is_known(memorised):
    task = replace(memorised, retrained=None)
    assert set(distance_of(task, task.params).values()) == {None}


def test_infinity_is_none(memorised):
    found = distance_of(memorised, np.full_like(memorised.params, np.nan))
    assert found["test_kl"] is None
    assert found["test_js"] == pytest.approx(np.log(2))
