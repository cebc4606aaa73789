import numpy as np
import pytest
from scipy import stats

from feasible_jax.evaluation import mean_interval, paired_interval
from feasible_jax.evaluation.intervals import student_quantile


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 30, 101, 1000])
@pytest.mark.parametrize("confidence", [0.01, 0.5, 0.95, 0.999])
def test_quantiles_agree_with_scipy(degrees, confidence):
    expected = stats.t.ppf(0.5 + confidence / 2, degrees)
    assert student_quantile(confidence, degrees) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e9])
@pytest.mark.parametrize("count", [2, 5, 20])
def test_agrees_with_scipy(count, offset):
    values = np.random.default_rng(count).normal(size=count) + offset
    result = mean_interval(values.tolist())
    low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert result.mean == pytest.approx(values.mean(), rel=1e-12)
    assert result.half_width == pytest.approx((high - low) / 2, rel=1e-4)
    assert result.count == count


def test_covers_as_often_as_it_says():
    rng, draws = np.random.default_rng(0), 2000
    intervals = [mean_interval(rng.normal(3, 2, 4)) for _ in range(draws)]
    covered = sum(abs(i.mean - 3) <= i.half_width for i in intervals)
    assert stats.binom.ppf(0.001, draws, 0.95) <= covered <= stats.binom.ppf(0.999, draws, 0.95)


def test_one_seed_says_nothing_about_the_spread():
    assert mean_interval([86.0]) == (86.0, None, 1)
    assert paired_interval([86.0], [85.0]) == (1.0, None, 1)


def test_pairs_cancel_what_the_seeds_share():
    seeds = np.array([10.0, 20.0, 30.0, 40.0])
    ours, theirs = seeds + [1.1, 0.9, 1.0, 1.0], seeds
    paired = paired_interval(ours, theirs)
    reference = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert paired.mean - paired.half_width == pytest.approx(reference.low)
    assert paired.mean + paired.half_width == pytest.approx(reference.high)
    assert paired.half_width < mean_interval(ours).half_width / 10


def test_swapping_the_methods_flips_the_sign():
    there, back = paired_interval([1.0, 5.0], [2.0, 9.0]), paired_interval([2.0, 9.0], [1.0, 5.0])
    assert there.mean == -back.mean == -2.5
    assert there.half_width == back.half_width


@pytest.mark.parametrize("values", [[1.0, None], [1.0, float("nan")], [1.0, float("inf")]])
def test_missing_seeds_are_named(values):
    with pytest.raises(ValueError, match=r"values\[1\] is"):
        mean_interval(values)


def test_unequal_and_empty_lists_are_refused():
    with pytest.raises(ValueError, match="2 values but 1 others"):
        paired_interval([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])
    with pytest.raises(ValueError, match="confidence is 95"):
        mean_interval([1.0, 2.0], confidence=95)
