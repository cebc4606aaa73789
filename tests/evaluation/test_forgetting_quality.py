import math

import numpy as np
import pytest

from feasible_jax.evaluation import forgetting_quality

DELTA = 1e-5


def bound(fpr, fnr):
    """Of one attack; None where exactly one rate is 0."""
    if fpr == 0 and fnr == 0:
        return math.inf
    if fpr == 0 or fnr == 0:
        return None
    logs = [(1 - DELTA - a, b) for a, b in ((fpr, fnr), (fnr, fpr))]
    return max([math.log(a) - math.log(b) for a, b in logs if a > 0] + [0.0])


def epsilon_on_a_grid(unlearned, retrained, unit):
    """The competition's families of attacks, threshold by threshold."""
    ranges = sorted([np.ptp(unlearned), np.ptp(retrained)])
    if ranges[0] < 0.01 * ranges[1]:
        return 50.0
    swap = np.median(retrained) > np.median(unlearned)
    high, low = (retrained, unlearned) if swap else (unlearned, retrained)
    both = np.concatenate([unlearned, retrained])
    bounds = [
        bound(np.mean(low >= t), np.mean(high < t))
        for t in np.arange(both.min(), both.max(), 1 / unit)
    ]
    swap = np.ptp(retrained) < np.ptp(unlearned)
    narrow, wide = (retrained, unlearned) if swap else (unlearned, retrained)
    for right in np.arange(narrow.max() - 2, narrow.max() + 2, 1 / unit):
        for left in right - np.arange(ranges[0] - 2, ranges[0] + 2, 1 / unit):
            inside = [np.mean((left <= m) & (m <= right)) for m in (wide, narrow)]
            bounds.append(bound(inside[0], 1 - inside[1]))
    return min(max(b for b in bounds if b is not None), 50.0)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1.5, 1.0), (0.0, 5.0)])
def test_agrees_with_a_grid_of_thresholds(shift, scale):
    # On halves, a grid of an eighth, shifted a little, meets every way to part them.
    rng = np.random.default_rng(0)
    unlearned = np.round(2 * rng.normal(shift, scale, (8, 3))) / 2
    retrained = np.round(2 * rng.normal(0, 1, (8, 3))) / 2
    found = forgetting_quality(unlearned, retrained).epsilons
    for epsilon, u, r in zip(found, unlearned.T, retrained.T, strict=True):
        assert epsilon == pytest.approx(epsilon_on_a_grid(u, r, unit=8 + 1e-6), abs=1e-6)


def test_the_same_models_are_indistinguishable():
    margins = np.random.default_rng(0).normal(size=(8, 6)) * 0.5
    one_threshold = forgetting_quality(margins[:, :1] * 0, margins[:, :1] * 0)
    assert one_threshold == (1.0, np.zeros(1))
    quality = forgetting_quality(margins, margins)
    assert quality.score == 1.0
    np.testing.assert_array_equal(quality.epsilons, np.zeros(6))


def test_the_original_model_is_caught():
    rng = np.random.default_rng(0)
    quality = forgetting_quality(rng.normal(9, 1, (8, 6)), rng.normal(-3, 2, (8, 6)))
    assert quality.score == 0.0
    np.testing.assert_array_equal(quality.epsilons, np.full(6, 50.0))


def test_a_small_case_by_hand():
    # One of four on the wrong side of any threshold between 1 and 2.
    unlearned = np.array([[1.0], [2.0], [2.1], [2.2]])
    retrained = np.array([[0.9], [0.95], [0.98], [2.0]])
    expected = math.log(1 - DELTA - 0.25) - math.log(0.25)
    quality = forgetting_quality(unlearned, retrained)
    assert quality.epsilons[0] == pytest.approx(expected)
    # log(3) = 1.0986 is in the third bucket, and four models show up to ceil(log 3) = 2.
    assert quality.score == 0.25


def test_a_peaked_ensemble_is_taken_for_separated():
    wide = np.linspace(-1, 1, 8)[:, None]
    for pair in ((wide * 0.001, wide), (wide, wide * 0.001)):
        assert forgetting_quality(*pair).epsilons[0] == 50.0


def test_the_order_of_the_two_kinds_does_not_matter():
    rng = np.random.default_rng(0)
    pair = rng.normal(0.5, 2, (9, 12)), rng.normal(0, 1, (9, 12))
    np.testing.assert_allclose(
        forgetting_quality(*pair).epsilons, forgetting_quality(*pair[::-1]).epsilons
    )


def test_scores_halve_with_each_bucket_up_to_what_the_models_can_show():
    from feasible_jax.evaluation.forgetting_quality import _points

    epsilons = np.array([0.0, 0.49, 0.5, 0.99, 1.0, 2.99, 3.0, 50.0])
    # ceil(log 15) = 3: six buckets.
    np.testing.assert_array_equal(
        _points(epsilons, models=16), [1, 1, 0.5, 0.5, 0.25, 1 / 32, 0, 0]
    )


def test_retrained_beside_retrained_is_far_below_one_and_above_the_shifted():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 16, 100))
    assert 0.05 < forgetting_quality(one, other).score < 0.5
    assert forgetting_quality(one + 1, other).score < 0.8 * forgetting_quality(one, other).score


@pytest.mark.parametrize("delta", [-0.1, 1.0, math.nan])
def test_delta_is_a_small_probability(delta):
    with pytest.raises(ValueError, match="delta is"):
        forgetting_quality(np.zeros((3, 1)), np.zeros((3, 1)), delta)


def test_a_larger_delta_explains_more():
    rng = np.random.default_rng(0)
    pair = rng.normal(1, 1, (12, 20)), rng.normal(0, 1, (12, 20))
    small, large = (forgetting_quality(*pair, delta).epsilons for delta in (1e-5, 0.2))
    assert (large <= small).all()
    assert large.mean() < small.mean()
