import json

import numpy as np
import pytest

from feasible_jax.experiments.outcome import (
    Label,
    kept_curves,
    loss_curves,
    make_row,
    what_was_kept,
)
from feasible_jax.unlearning import History
from feasible_jax.unlearning.history import Certificates

LABEL = Label("digits", "mlp", "random", "NegGrad+", "feasible", 0)


def test_a_row_without_a_reference_leaves_the_comparison_open(built):
    row = make_row(LABEL, built.task, built.task.params, 2.0, None)
    assert row["avg_gap"] is None
    assert row["rte_ratio"] is None
    assert row["feasible"] is True
    assert row["test_accuracy"] > 0
    json.dumps(row, allow_nan=False)


def test_a_row_is_compared_with_its_reference(built):
    retrained = LABEL._replace(method="retrained", arm="reference")
    reference = make_row(retrained, built.task, built.task.retrained, 4.0, None)
    row = make_row(LABEL, built.task, built.task.params, 1.0, reference, {"steps": 3})
    assert row["rte_ratio"] == pytest.approx(0.25)
    assert row["avg_gap"] > 0
    assert row["steps"] == 3
    assert reference["feasible"] is False


def test_a_row_says_how_far_utility_fell_below_the_original(built):
    retrained = LABEL._replace(method="retrained", arm="reference")
    reference = make_row(retrained, built.task, built.task.retrained, 4.0, None)
    original = make_row(
        LABEL._replace(method="original", arm="reference"),
        built.task,
        built.task.params,
        4.0,
        reference,
    )
    names = ("test_accuracy_fall", "test_accuracy_fall_bound", "test_accuracy_fall_p")
    assert [original[name] for name in names] == [None] * 3
    fall, bound, p = (reference[name] for name in names)
    assert fall == pytest.approx(original["test_accuracy"] - reference["test_accuracy"])
    assert bound > fall
    assert 0 <= p <= 1
    assert (p <= 0.05) == (bound <= 0.5)
    assert reference["test_loss_rise_bound"] > reference["test_loss"] - original["test_loss"]


def test_curves_name_what_they_are_of(built):
    history = History({}, np.ones(2), {"w": np.array([0.5, 1.0])}, {}, np.zeros(2, bool))
    kept = kept_curves(LABEL, history)
    assert kept["layers"] == {"w": [0.5, 1.0]}
    assert kept["steps"] == [1, 2]
    losses = loss_curves(LABEL, built.task, built.task.params)
    assert losses["method"] == kept["method"] == "NegGrad+"
    assert sum(losses["forget"]) == pytest.approx(1)


def test_the_share_certified_is_that_of_the_steps_up_to_the_best_look():
    accepted = np.array([True, False, False, False])
    certificates = Certificates(accepted, accepted * 1.0, np.full(4, 0.05), {})
    history = History({}, np.linspace(0, 0.3, 4), {}, {}, ~accepted, certificates)
    found = what_was_kept(history, 2)
    assert found["certified"] == 0.5
    assert found["kept"] == pytest.approx(0.05)
    assert what_was_kept(history._replace(kept=np.zeros(0)), 0)["kept"] is None
