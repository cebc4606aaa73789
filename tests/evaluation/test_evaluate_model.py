import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from feasible_jax.evaluation import (
    cross_entropy,
    entropy,
    evaluate,
    label_confidence,
    mia_auc,
    mia_entropy,
    mia_svc,
    predict,
    random_params,
    zrf,
)


def test_memory_shows_and_retraining_has_none(memorised):
    original = evaluate(memorised, memorised.params)
    retrained = evaluate(memorised, memorised.retrained)
    assert original["forget_accuracy"] == original["retain_accuracy"] == 100.0
    assert original["mia_auc_low"] > 0.7
    assert retrained["mia_auc_low"] < 0.5 < retrained["mia_auc_high"]
    assert retrained["retain_accuracy"] == 100.0
    assert retrained["forget_accuracy"] < 70
    assert original["mia_svc"] < 30 < 60 < retrained["mia_svc"]
    assert original["mia_entropy"] > 70 > 40 > retrained["mia_entropy"]
    assert original["forget_js"] > 0.1
    assert retrained["forget_js"] == pytest.approx(0, abs=1e-12)
    assert original["zrf"] < retrained["zrf"]
    assert original["forget_loss"] < retrained["forget_loss"]


def test_every_number_is_of_its_own_set(memorised):
    row = evaluate(memorised, memorised.retrained)
    for name in ("forget", "retain", "test", "validation"):
        inputs, labels = getattr(memorised, name)
        logits = np.asarray(inputs) @ np.asarray(memorised.retrained)
        assert row[f"{name}_accuracy"] == pytest.approx(100 * (logits.argmax(1) == labels).mean())
        if name != "validation":
            losses = jax.nn.logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]
            assert row[f"{name}_loss"] == pytest.approx(float(losses.mean()), rel=1e-4)
    assert row["unlearning_accuracy"] == 100 - row["forget_accuracy"]


def test_attacks_are_given_the_sets_they_name(memorised):
    task = replace(memorised, validation=memorised.retain)
    row = evaluate(task, task.retrained)
    forget, retain, test = (
        predict(task.predict_fn, task.retrained, getattr(task, name))
        for name in ("forget", "retain", "test")
    )
    attacked = mia_auc(cross_entropy(forget), cross_entropy(test))
    assert (row["mia_auc"], row["mia_auc_low"], row["mia_auc_high"]) == attacked
    assert row["mia_svc"] == mia_svc(*map(label_confidence, (forget, retain, test)))
    assert row["mia_entropy"] == mia_entropy(*map(entropy, (forget, retain, test)))
    teacher = predict(task.predict_fn, random_params(task.params), task.forget)
    assert row["zrf"] == zrf(forget, teacher)


def test_the_teacher_is_the_same_for_every_model_of_a_task(memorised):
    ignorant = random_params(memorised.params, seed=3)
    row = evaluate(memorised, ignorant, seed=3)
    assert row["zrf"] == pytest.approx(1)
    assert row["zrf"] > evaluate(memorised, ignorant, seed=4)["zrf"]


def test_without_a_retrained_model_there_is_no_distance_to_it(memorised):
    row = evaluate(replace(memorised, retrained=None), memorised.params)
    assert [row[name] for name in ("forget_js", "test_js", "forget_kl", "test_kl")] == [None] * 4


def test_shuffling_the_test_labels_hides_what_a_good_model_knows(memorised):
    rng = np.random.default_rng(0)
    known = memorised.retain
    easy = replace(memorised, test=known)
    hard = replace(memorised, test=known._replace(labels=rng.permutation(known.labels)))
    easy_row, hard_row = (evaluate(task, task.params) for task in (easy, hard))
    assert hard_row["test_accuracy"] < 60 < easy_row["test_accuracy"]
    assert hard_row["mia_auc"] > 0.75 > easy_row["mia_auc"]


def test_true_labels_are_used_for_that_one_number_alone(memorised):
    plain = evaluate(memorised, memorised.params)
    true_labels = (np.asarray(memorised.forget.labels) + 1) % 3
    row = evaluate(replace(memorised, forget_true_labels=true_labels), memorised.params)
    assert "forget_true_accuracy" not in plain
    assert row.pop("forget_true_accuracy") == 0.0
    assert row == plain


def test_a_row_survives_json(memorised):
    row = evaluate(memorised, memorised.retrained, seconds=3.5)
    assert row["seconds"] == 3.5
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert all(type(value) is float for value in row.values())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_model_has_a_row_too(memorised, bad):
    row = evaluate(memorised, np.full_like(memorised.params, bad))
    json.dumps(row, allow_nan=False)
    assert row["retain_accuracy"] == 0.0
    assert row["forget_loss"] is None
    assert row["mia_auc"] == 0.5
    assert row["mia_svc"] == row["mia_entropy"] == 50.0
    assert row["forget_js"] == pytest.approx(np.log(2))
    assert row["forget_kl"] is None
    assert row["zrf"] == pytest.approx(0)


def test_a_model_without_an_opinion(memorised):
    row = evaluate(memorised, np.zeros_like(memorised.params))
    assert (row["mia_auc"], row["mia_svc"], row["mia_entropy"]) == (0.5, 50.0, 50.0)
    assert row["test_loss"] == pytest.approx(np.log(3))


def test_one_compilation_a_model(memorised):
    traces = []

    def counted(params, inputs):
        traces.append(inputs.shape)
        return inputs @ params

    task = replace(memorised, predict_fn=counted)
    evaluate(task, task.params)
    evaluate(task, task.retrained)
    assert len(traces) == 1


def test_the_batch_size_changes_nothing(memorised):
    few, many = (
        evaluate(memorised, memorised.retrained, seconds=1.0, batch_size=b) for b in (7, 1000)
    )
    assert few == pytest.approx(many, rel=1e-4)


def test_a_row_can_be_reproduced(memorised):
    assert evaluate(memorised, memorised.params) == evaluate(memorised, memorised.params)
