import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from feasible_jax.alignment.mean_tests import hall_test, student_test


def oracle(x, f):
    n = x.size
    t = x.mean() / (x.std(ddof=1) * np.sqrt((1 - f) / n))
    unit = scipy.stats.skew(x) / (6 * np.sqrt(n * (1 - f)))
    a, b = (2 - f) * unit, (1 - 2 * f) * unit
    return scipy.stats.t.cdf(t + a * t**2 + a**2 * t**3 / 3 + b, n - 1)


@pytest.mark.parametrize("population_size", [None, 100])
@pytest.mark.parametrize("sign", [1, -1])
def test_is_the_published_cubic(sign, population_size):
    x = np.random.default_rng(0).standard_exponential(40).astype(np.float32) - 1
    for shift in (-1.0, -0.3, 0.2):
        changes = sign * x + np.float32(shift)
        got = float(jax.jit(hall_test().p_value)(jnp.asarray(changes), None, population_size))
        want = oracle(changes.astype(float), 40 / (population_size or np.inf))
        assert got == pytest.approx(want, rel=1e-3)


def test_is_student_without_skewness():
    x = jnp.array([-1.5, -2.0, -2.5, 0.0, 1.0, 0.5, -4.0]) - 0.1
    symmetric = jnp.concatenate([x, -1.0 - x])
    got, want = (jax.jit(t().p_value)(symmetric, None, None) for t in (hall_test, student_test))
    assert float(got) == pytest.approx(float(want), rel=1e-4)


def test_level_on_skewed_changes(populations, p_values, binomial):
    """Where Student's is 7% at 128 examples, and far below 5% with the tail to the other side."""
    changes = populations["exponential"](np.random.default_rng(3), (4000, 128))
    test = hall_test()
    for sign in (1, -1):
        binomial(p_values(test, sign * changes) <= 0.05, 0.05)
    assert np.mean(p_values(student_test(), changes) <= 0.05) > 0.065


def test_level_on_half_of_a_skewed_population(p_values, binomial):
    rng = np.random.default_rng(4)
    population = rng.standard_exponential(400)
    population -= population.mean()
    changes = rng.permuted(np.tile(population, (4000, 1)), axis=1)[:, :200]
    binomial(p_values(hall_test(), changes, 400) <= 0.05, 0.05)
