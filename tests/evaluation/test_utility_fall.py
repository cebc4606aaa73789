from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.evaluation import (
    cross_entropy,
    evaluate,
    loss_non_inferiority,
    non_inferiority,
    predict,
)
from feasible_jax.evaluation.utility_fall import utility_fall
from feasible_jax.unlearning.task import Examples

NAMES = (
    "test_accuracy_fall",
    "test_accuracy_fall_bound",
    "test_accuracy_fall_p",
    "test_loss_rise_bound",
)


def fall_of(task, params, **settings):
    return utility_fall(task, params, predict(task.predict_fn, params, task.test), **settings)


def test_is_the_test_of_both_models_on_the_test_set(memorised):
    before, after = (
        predict(memorised.predict_fn, params, memorised.test)
        for params in (memorised.params, memorised.retrained)
    )
    accuracy = non_inferiority(before, after)
    rise = loss_non_inferiority(cross_entropy(before), cross_entropy(after))
    expected = dict(zip(NAMES, (*accuracy[:3], rise.bound), strict=True))
    assert fall_of(memorised, memorised.retrained) == expected
    row = evaluate(memorised, memorised.retrained)
    assert {name: row[name] for name in NAMES} == expected
    original = evaluate(memorised, memorised.params)
    assert row["test_accuracy_fall"] == pytest.approx(
        original["test_accuracy"] - row["test_accuracy"]
    )


def test_the_original_model_has_no_fall_however_it_is_stored(memorised):
    nothing = dict.fromkeys(NAMES)
    assert fall_of(memorised, memorised.params) == nothing
    assert fall_of(memorised, np.array(memorised.params)) == nothing
    assert fall_of(memorised, jnp.asarray(memorised.params) + 0) == nothing
    assert fall_of(memorised, 1.5 * memorised.params) != nothing


def test_a_class_that_is_gone_is_no_utility(memorised):
    inputs, labels = memorised.retain
    kept = np.asarray(labels) != 0
    task = replace(memorised, retain=Examples(np.asarray(inputs)[kept], np.asarray(labels)[kept]))
    # A model that never says 0 loses the forgotten class alone.
    forgetful = np.array(memorised.params)
    forgetful[:, 0] = -100 * np.abs(np.asarray(task.test.inputs)).max()
    rows = [np.isin(task.test.labels, (1, 2)), np.isin(task.test.labels, (0, 1, 2))]
    remaining, everything = (
        replace(memorised, test=Examples(task.test.inputs[r], task.test.labels[r])) for r in rows
    )
    assert fall_of(task, forgetful) == fall_of(remaining, forgetful)
    assert fall_of(everything, forgetful) == fall_of(memorised, forgetful)
    assert fall_of(task, forgetful) != fall_of(memorised, forgetful)


def test_no_remaining_class_in_the_test_set_leaves_nothing_to_test(memorised):
    only = np.asarray(memorised.test.labels) == 0
    test = Examples(memorised.test.inputs[only], memorised.test.labels[only])
    kept = np.asarray(memorised.retain.labels) != 0
    retain = Examples(memorised.retain.inputs[kept], memorised.retain.labels[kept])
    task = replace(memorised, test=test, retain=retain)
    assert fall_of(task, memorised.retrained) == dict.fromkeys(NAMES)


def test_margin_and_confidence_are_passed_on(memorised):
    usual = fall_of(memorised, memorised.retrained)
    wide = fall_of(memorised, memorised.retrained, margin=50.0, confidence=0.99)
    assert wide["test_accuracy_fall"] == usual["test_accuracy_fall"]
    assert wide["test_accuracy_fall_bound"] > usual["test_accuracy_fall_bound"]
    assert wide["test_loss_rise_bound"] > usual["test_loss_rise_bound"]
    assert wide["test_accuracy_fall_p"] < usual["test_accuracy_fall_p"]
    row = evaluate(memorised, memorised.retrained, margin=50.0, confidence=0.99)
    assert {name: row[name] for name in NAMES} == wide
    with pytest.raises(ValueError, match="margin is -1"):
        evaluate(memorised, memorised.retrained, margin=-1.0)


def test_a_diverged_model_lost_everything(memorised):
    fall = fall_of(memorised, np.full_like(memorised.params, np.nan))
    original = evaluate(memorised, memorised.params)
    assert fall["test_accuracy_fall"] == pytest.approx(original["test_accuracy"])
    assert fall["test_accuracy_fall_bound"] > fall["test_accuracy_fall"]
    assert fall["test_loss_rise_bound"] is None
