import numpy as np
import pytest
import scipy.stats
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

from feasible_jax.evaluation import Predictions, js_divergence, kl_divergence

LABELS = np.zeros(5, int)


def predictions(logits):
    logits = np.atleast_2d(np.asarray(logits, np.float32))
    return Predictions(logits, np.zeros(len(logits), int))


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return [predictions(rng.normal(size=(5, 4)) * 3) for _ in range(2)]


def test_agree_with_scipy(pair):
    p, q = (softmax(each.logits.astype(float), axis=1) for each in pair)
    np.testing.assert_allclose(js_divergence(*pair), jensenshannon(p, q, axis=1) ** 2, rtol=1e-9)
    # The reference comes first in the formula, and last among the arguments.
    np.testing.assert_allclose(kl_divergence(*pair), scipy.stats.entropy(q, p, axis=1), rtol=1e-9)


def test_the_same_predictions_are_no_distance_apart(pair):
    one, _ = pair
    shifted = one._replace(logits=one.logits.astype(float) + 7)
    for divergence in (js_divergence, kl_divergence):
        np.testing.assert_allclose(divergence(one, one), 0, atol=1e-15)
        np.testing.assert_allclose(divergence(one, shifted), 0, atol=1e-12)


def test_one_is_symmetric_and_the_other_not(pair):
    np.testing.assert_allclose(js_divergence(*pair), js_divergence(*pair[::-1]), rtol=1e-12)
    assert (np.abs(kl_divergence(*pair) - kl_divergence(*pair[::-1])) > 1e-3).all()


def test_a_small_case_by_hand():
    half, quarter = predictions(np.log([0.5, 0.5])), predictions(np.log([0.25, 0.75]))
    kl = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    assert kl_divergence(half, quarter)[0] == pytest.approx(kl, rel=1e-6)
    to_middle = [
        sum(p * np.log(p / m) for p, m in zip(ps, (0.375, 0.625), strict=True))
        for ps in ((0.5, 0.5), (0.25, 0.75))
    ]
    assert js_divergence(half, quarter)[0] == pytest.approx(np.mean(to_middle), rel=1e-6)


@pytest.mark.parametrize("scale", [1e3, 1e15, 1e38])
def test_nothing_underflows_to_a_wrong_zero(scale):
    sure, other = predictions([scale, 0.0]), predictions([0.0, scale])
    assert js_divergence(sure, other)[0] == pytest.approx(np.log(2))
    assert kl_divergence(sure, other)[0] == pytest.approx(scale, rel=1e-6)


def test_a_class_that_both_rule_out_costs_nothing():
    pair = predictions([0.0, 1.0, -np.inf]), predictions([1.0, 0.0, -np.inf])
    known = predictions([0.0, 1.0]), predictions([1.0, 0.0])
    for divergence in (js_divergence, kl_divergence):
        np.testing.assert_allclose(divergence(*pair), divergence(*known), rtol=1e-12)


def test_a_class_that_one_alone_rules_out():
    possible, impossible = predictions([0.0, 0.0]), predictions([0.0, -np.inf])
    assert kl_divergence(impossible, possible)[0] == np.inf
    assert kl_divergence(possible, impossible)[0] == pytest.approx(np.log(2))
    assert 0 < js_divergence(impossible, possible)[0] < np.log(2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_model_is_as_far_as_can_be(bad):
    diverged, other = predictions([[bad, 0], [1, 0]]), predictions([[0, 0], [1, 0]])
    for pair in ((diverged, other), (other, diverged)):
        np.testing.assert_allclose(js_divergence(*pair), [np.log(2), 0])
        np.testing.assert_allclose(kl_divergence(*pair), [np.inf, 0])


@pytest.mark.parametrize("divergence", [js_divergence, kl_divergence])
def test_other_examples_or_classes_are_refused(divergence):
    two = Predictions(np.zeros((2, 3)), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
        divergence(two, Predictions(np.zeros((2, 4)), np.array([0, 1])))
    with pytest.raises(ValueError, match="at least 1"):
        divergence(*[Predictions(np.zeros((0, 3)), np.zeros(0, int))] * 2)
    with pytest.raises(ValueError, match="the labels of the two differ"):
        divergence(two, Predictions(np.zeros((2, 3)), np.array([1, 0])))
