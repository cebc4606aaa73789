import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.alignment.mean_tests import bootstrap_test


def oracle(x, resamples, seed):
    n = x.size
    uniform = np.random.default_rng(seed).random((n, resamples), np.float32)
    drawn = x[(uniform * n).astype(int)]
    errors = drawn.std(0, ddof=1) / np.sqrt(n)
    t = x.mean() / (x.std(ddof=1) / np.sqrt(n))
    return (1 + np.sum((drawn.mean(0) - x.mean()) <= t * errors)) / (resamples + 1)


@pytest.mark.parametrize("shift", [-1.3, -1.1, -0.9])
@pytest.mark.parametrize("seed", [0, 1])
def test_is_the_bootstrap_t(shift, seed):
    x = np.random.default_rng(0).standard_exponential(40).astype(np.float32) + np.float32(shift)
    got = float(jax.jit(bootstrap_test(199, seed).p_value)(jnp.asarray(x), None, None))
    assert got == pytest.approx(oracle(x.astype(float), 199, seed), abs=1.5 / 200)


def test_never_below_one_over_the_resamples():
    x = jnp.asarray(np.random.default_rng(0).standard_normal(20) - 50, jnp.float32)
    assert float(jax.jit(bootstrap_test(199).p_value)(x, None, None)) == pytest.approx(1 / 200)


def test_level_on_skewed_changes(populations, p_values, binomial):
    changes = populations["exponential"](np.random.default_rng(5), (1000, 64))
    binomial(p_values(bootstrap_test(199), changes) <= 0.05, 0.055)


def test_needs_a_resample():
    with pytest.raises(ValueError, match="resamples=0"):
        bootstrap_test(0)
