import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from feasible_jax.alignment.mean_tests import normal_test


@pytest.mark.parametrize("population_size", [None, 100])
@pytest.mark.parametrize("shift", [-2.0, -0.3, 0.0, 0.5])
def test_agrees_with_scipy(shift, population_size):
    x = np.random.default_rng(1).standard_normal(30).astype(np.float32) + shift
    error = x.std(ddof=1) / np.sqrt(30) * np.sqrt(1 - 30 / (population_size or np.inf))
    got = float(jax.jit(normal_test().p_value)(jnp.asarray(x), None, population_size))
    assert got == pytest.approx(scipy.stats.norm.cdf(x.mean() / error), rel=1e-4)
