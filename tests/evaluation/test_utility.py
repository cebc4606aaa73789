from dataclasses import replace

import numpy as np
import pytest

from feasible_jax.evaluation import (
    UTILITY_METRICS,
    evaluate,
    predict,
    utility_gap,
    utility_scores,
)


def test_the_retrained_model_has_no_gap(memorised):
    reference = utility_scores(memorised, memorised.retrained)
    assert utility_gap(memorised, memorised.retrained, reference) == 0.0
    assert utility_gap(memorised, memorised.params, reference) > 5


def test_by_hand(memorised):
    scores = utility_scores(memorised, memorised.params)
    shifts = zip(UTILITY_METRICS, (3, -6, 9), strict=True)
    reference = {name: scores[name] - shift for name, shift in shifts}
    assert utility_gap(memorised, memorised.params, reference) == pytest.approx(6)


def test_scores_are_those_of_the_full_row_where_nothing_is_drawn(memorised):
    row = evaluate(memorised, memorised.retrained)
    scores = utility_scores(memorised, memorised.retrained)
    assert {name: scores[name] for name in UTILITY_METRICS}.items() <= row.items()
    assert utility_gap(memorised, memorised.retrained, row) == 0.0


def test_a_class_that_is_to_be_forgotten_as_a_whole_does_not_count_as_utility(memorised):
    retain = memorised.retain
    kept = np.asarray(retain.labels) != 0
    without = retain._replace(
        inputs=np.asarray(retain.inputs)[kept], labels=np.asarray(retain.labels)[kept]
    )
    task = replace(memorised, retain=without)
    labels = np.asarray(task.validation.labels)
    predicted = np.asarray(predict(task.predict_fn, task.params, task.validation).logits).argmax(1)
    remain = labels != 0
    assert 0 < remain.sum() < len(labels)
    scores = utility_scores(task, task.params)
    right = 100 * np.mean((predicted == labels)[remain])
    assert scores["remaining_accuracy"] == pytest.approx(right)
    assert scores["validation_accuracy"] == pytest.approx(100 * np.mean(predicted == labels))


def test_never_looks_at_the_test_set(memorised):
    blind = replace(memorised)
    object.__setattr__(blind, "test", None)
    assert utility_scores(blind, blind.params) == utility_scores(memorised, memorised.params)


def test_looks_at_validation(memorised):
    labels = np.asarray(memorised.validation.labels)
    other = replace(memorised, validation=memorised.validation._replace(labels=(labels + 1) % 3))
    ours, theirs = (utility_scores(task, task.params) for task in (memorised, other))
    assert ours["validation_accuracy"] != theirs["validation_accuracy"]


def test_the_sample_keeps_inputs_and_labels_together_and_is_fixed(memorised):
    # Every retain example is known by heart: any other label beside it would show.
    for seed in range(5):
        scores = utility_scores(memorised, memorised.params, max_examples=10, seed=seed)
        assert scores["retain_accuracy"] == 100.0
    drawn = [
        utility_scores(memorised, 1 - memorised.params, max_examples=10, seed=s) for s in (0, 0)
    ]
    assert drawn[0] == drawn[1]


def test_the_cap_bounds_what_is_predicted(memorised):
    scores = utility_scores(memorised, memorised.params * -1 + 0.1, max_examples=1)
    assert scores["retain_accuracy"] in (0.0, 100.0)
    with pytest.raises(ValueError, match="max_examples is 0"):
        utility_scores(memorised, memorised.params, max_examples=0)


def test_a_missing_reference_is_named(memorised):
    with pytest.raises(KeyError, match="reference has no value for 'validation_accuracy'"):
        utility_gap(memorised, memorised.params, {"forget_accuracy": 1.0, "retain_accuracy": 1.0})
