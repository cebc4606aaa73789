import numpy as np
import pytest
import scipy.stats
from scipy.special import log_softmax, logit, softmax

from feasible_jax.evaluation import (
    Predictions,
    correct,
    cross_entropy,
    entropy,
    label_confidence,
    label_margin,
)


def one(logits, label):
    return Predictions(np.array([logits], np.float32), np.array([label]))


def test_losses_pick_the_label_of_their_own_row():
    rng = np.random.default_rng(0)
    predictions = Predictions(rng.normal(size=(6, 4)).astype(np.float32), rng.integers(0, 4, 6))
    rows = [-log_softmax(row.astype(float))[y] for row, y in zip(*predictions, strict=True)]
    losses = cross_entropy(predictions)
    assert losses.shape == (6,)
    np.testing.assert_allclose(losses, rows, rtol=1e-12)
    np.testing.assert_allclose(label_confidence(predictions), np.exp(-np.array(rows)), rtol=1e-12)


def test_margins_and_entropies_are_of_the_probabilities():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 4)).astype(np.float32), rng.integers(0, 4, 6)
    probabilities = softmax(logits.astype(float), axis=1)
    predictions = Predictions(logits, labels)
    np.testing.assert_allclose(
        label_margin(predictions), logit(probabilities[np.arange(6), labels]), rtol=1e-9
    )
    np.testing.assert_allclose(
        entropy(predictions), scipy.stats.entropy(probabilities, axis=1), rtol=1e-12
    )


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e15, 1e38])
def test_margins_keep_the_differences_of_confident_examples(scale):
    assert label_margin(one([scale, 0.0, -np.inf], 0))[0] == pytest.approx(scale, rel=1e-6)
    assert label_margin(one([0.0, scale], 0))[0] == pytest.approx(-scale, rel=1e-6)
    assert entropy(one([3 * scale, -np.inf], 0))[0] == 0.0


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3, 1e15, 1e38])
def test_huge_logits_do_not_overflow(scale):
    assert cross_entropy(one([scale, 0.0], 0))[0] == pytest.approx(np.log1p(np.exp(-scale)))
    assert cross_entropy(one([scale, 0.0], 1))[0] == pytest.approx(
        scale if scale > 1 else np.log1p(np.exp(scale)), rel=1e-6
    )


def test_confident_examples_do_not_all_tie_at_zero():
    losses = [cross_entropy(one([logit, 0.0], 0))[0] for logit in (20.0, 25.0, 30.0)]
    assert losses[0] > losses[1] > losses[2] > 0


def test_a_label_without_any_probability_has_infinite_loss():
    predictions = one([0.0, -np.inf], 1)
    assert cross_entropy(predictions)[0] == np.inf
    assert label_confidence(predictions)[0] == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("label", [0, 1])
def test_a_diverged_model_is_as_wrong_as_can_be(bad, label):
    predictions = one([bad, 0.0], label)
    assert cross_entropy(predictions)[0] == np.inf
    assert label_confidence(predictions)[0] == 0.0
    assert not correct(predictions)[0]
    assert label_margin(predictions)[0] == -np.inf
    assert entropy(predictions)[0] == pytest.approx(np.log(2))


def test_one_diverged_row_leaves_the_others_alone():
    predictions = Predictions(np.array([[np.nan, 0], [3, 0]], np.float32), np.array([0, 0]))
    np.testing.assert_allclose(cross_entropy(predictions), [np.inf, np.log1p(np.exp(-3))])
    np.testing.assert_array_equal(correct(predictions), [False, True])


@pytest.mark.parametrize(
    "function", [cross_entropy, label_confidence, label_margin, entropy, correct]
)
@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3)), np.array([0, -100]), "from -100 to 0"),
        (np.zeros((2, 3)), np.array([0, 3]), "classes 0 to 2"),
        (np.zeros((2, 3)), np.array([0]), r"\(2, 3\) and labels \(1,\)"),
        (np.zeros(2), np.array([0, 1]), r"shape \(2,\)"),
        (np.zeros((0, 3)), np.zeros(0, int), "at least 1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(function, logits, labels, message):
    with pytest.raises(ValueError, match=message):
        function(Predictions(logits.astype(np.float32), labels))
