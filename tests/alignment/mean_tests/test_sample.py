import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from feasible_jax.alignment.mean_tests.sample import read_sample, sample_moments, studentised


def test_moments_are_those_of_scipy():
    x = np.random.default_rng(0).standard_exponential(50).astype(np.float32) / 10
    mean, variance, skewness = (float(m) for m in sample_moments(jnp.asarray(x), jnp.ones(50)))
    assert mean == pytest.approx(x.mean(), rel=1e-5)
    assert variance == pytest.approx(x.var(ddof=1), rel=1e-5)
    assert skewness == pytest.approx(scipy.stats.skew(x), rel=1e-5)


def test_values_that_differ_in_their_last_digit_differ():
    x = np.array([1.0, 1.0, 1.0, np.nextafter(np.float32(1), np.float32(2))], np.float32)
    for sign in (1, -1):
        sample = read_sample(jnp.asarray(sign * x), None, None)
        assert float(sample.variance) > 0
        assert not bool(sample.equal)
        assert abs(float(studentised(sample))) > 1e6


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_scaled_by_the_largest_size(scale):
    sample = read_sample(jnp.array([-4.0, 2.0, 1.0]) * scale, jnp.array([1, 1, 0]), 4)
    assert sample.values.tolist() == [-1, 0.5, 0]
    assert float(sample.scale) == pytest.approx(4 * scale)
    assert float(sample.fraction) == 0.5
    assert np.isnan(sample.verdict)


@pytest.mark.parametrize("population_size", [-1, 0, 3, 4.9])
def test_more_than_the_population_says_nothing(population_size):
    """They were drawn with replacement: where that is not known, nothing passes."""
    sample = read_sample(jnp.array([-1.0, -2.0, -3.0, -4.0, -5.0]), None, population_size)
    assert 0 <= float(sample.fraction) <= 1
    assert float(sample.verdict) == 1


def test_the_whole_population_is_certain():
    assert float(read_sample(-jnp.arange(1.0, 6.0), None, 5).verdict) == 0
    assert float(read_sample(jnp.arange(5.0), None, 5).verdict) == 1
