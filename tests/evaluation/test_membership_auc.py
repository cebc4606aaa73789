import numpy as np
import pytest
from scipy.stats import binom, norm
from sklearn.metrics import roc_auc_score

from feasible_jax.evaluation import mia_auc


def by_scikit_learn(forget, test):
    return roc_auc_score(np.r_[np.ones(len(forget)), np.zeros(len(test))], -np.r_[forget, test])


def by_definition(forget, test):
    """DeLong's estimate and variance, over all pairs."""
    wins = (test[None] > forget[:, None]) + 0.5 * (test[None] == forget[:, None])
    variance = wins.mean(1).var(ddof=1) / len(forget) + wins.mean(0).var(ddof=1) / len(test)
    return wins.mean(), variance


@pytest.mark.parametrize("decimals", [8, 1, 0])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn_and_with_the_definition(seed, decimals):
    rng = np.random.default_rng(seed)
    forget = rng.exponential(1.0, 37).round(decimals)
    test = rng.exponential(1.5, 53).round(decimals)
    result = mia_auc(forget, test)
    auc, variance = by_definition(forget, test)
    assert result.auc == pytest.approx(by_scikit_learn(forget, test), abs=1e-12)
    assert result.auc == pytest.approx(auc, abs=1e-12)
    half = norm.ppf(0.975) * np.sqrt(variance) / (auc * (1 - auc))
    expected = 1 / (1 + np.exp(-np.log(auc / (1 - auc)) - np.array([-half, half])))
    assert result[1:] == pytest.approx(tuple(expected), rel=1e-9)


def test_above_a_half_means_that_forget_looks_like_members():
    low, high = np.linspace(0, 1, 20), np.linspace(0.5, 1.5, 20)
    assert mia_auc(low, high).auc > 0.5 > mia_auc(high, low).auc


def test_swapping_the_sets_mirrors_the_interval():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=30).round(1), rng.normal(0.5, 1, 40).round(1)
    there, back = mia_auc(a, b), mia_auc(b, a)
    mirrored = (1 - back.auc, 1 - back.high, 1 - back.low)
    assert there == pytest.approx(mirrored, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e15])
def test_only_the_order_of_losses_counts(scale):
    rng = np.random.default_rng(0)
    a, b = rng.exponential(size=30), rng.exponential(2, size=40)
    assert mia_auc(scale * a**3, scale * b**3) == mia_auc(a, b)


@pytest.mark.parametrize(
    ("shift", "count"), [(0.0, 100), (1.0, 100), (2.5, 100), (1.0, 20), (3.0, 15)]
)
def test_the_interval_covers_as_often_as_it_says(shift, count):
    truth, draws = norm.cdf(shift / np.sqrt(2)), 1000
    rng = np.random.default_rng(count)
    intervals = [
        mia_auc(rng.normal(size=count), rng.normal(shift, 1, 2 * count)) for _ in range(draws)
    ]
    covered = sum(i.low <= truth <= i.high for i in intervals)
    # DeLong's is an approximation: two points of slack below, on top of the simulation's noise.
    assert binom.ppf(0.001, draws, 0.93) <= covered <= binom.ppf(0.999, draws, 0.985)


@pytest.mark.parametrize("count", [1, 5, 100])
def test_perfect_separation_has_the_exact_binomial_bound(count):
    low, high = np.arange(count), np.arange(count, 2 * count + 50)
    result = mia_auc(low, high)
    assert (result.auc, result.high) == (1.0, 1.0)
    assert result.low == pytest.approx(0.025 ** (1 / count), abs=1e-9)
    mirrored = mia_auc(high, low)
    assert (mirrored.auc, mirrored.low) == (0.0, 0.0)
    assert mirrored.high == pytest.approx(1 - 0.025 ** (1 / count), abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 3.0, np.inf])
def test_nothing_but_ties_is_a_half_without_false_certainty(value):
    few, many = (mia_auc(np.full(n, value), np.full(n, value)) for n in (4, 400))
    assert few.auc == many.auc == 0.5
    assert 0 < few.low < many.low < 0.5 < many.high < few.high < 1


def test_one_forget_example_tells_little():
    result = mia_auc(np.array([1.0]), np.linspace(0, 3, 50))
    assert result.low < 0.2
    assert result.high > 0.9
    assert result.low <= result.auc <= result.high


def test_infinite_losses_are_the_largest_and_tie():
    result = mia_auc(np.array([np.inf, 0.0]), np.array([np.inf, 1.0]))
    assert result.auc == (0.5 + 0.0 + 1.0 + 1.0) / 4


def test_a_higher_confidence_is_wider():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=30), rng.normal(size=30)
    narrow, wide = mia_auc(a, b, confidence=0.8), mia_auc(a, b, confidence=0.99)
    assert wide.low < narrow.low < narrow.auc < narrow.high < wide.high


@pytest.mark.parametrize(
    ("forget", "test", "confidence", "message"),
    [
        (np.array([np.nan, 1.0]), np.ones(2), 0.95, r"forget_losses of shape \(2,\) holds 1 NaN"),
        (np.ones(2), np.zeros(0), 0.95, r"test_losses has shape \(0,\)"),
        (np.ones((2, 1)), np.ones(2), 0.95, r"forget_losses has shape \(2, 1\)"),
        (np.ones(2), np.ones(2), 95, "confidence is 95"),
    ],
)
def test_what_has_no_rank_is_refused(forget, test, confidence, message):
    with pytest.raises(ValueError, match=message):
        mia_auc(forget, test, confidence)
