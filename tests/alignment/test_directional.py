import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from feasible_jax.alignment import DECREASE, INCREASE, critical_value, direction_aligned

TRIALS = 20_000


def correlated(size, shift, sign, seed=0):
    """Derivatives along directions of 10 coordinates whose noise is shared nearly in full."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(size, TRIALS, 1))
    grads = common + 0.1 * rng.normal(size=(size, TRIALS, 10))
    deviation = np.sqrt(100 + 10 * 0.01)
    return jnp.asarray(grads.sum(-1) - sign * shift * deviation / np.sqrt(size), jnp.float32)


@pytest.mark.parametrize("sign", [DECREASE, INCREASE])
@pytest.mark.parametrize("size", [8, 64])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_size_and_power_with_correlated_coordinates(binomial, size, confidence, sign):
    critical = critical_value("student", confidence, size)
    threshold = scipy.stats.t.ppf(confidence, size - 1)
    for shift, want in ((0.0, 1 - confidence), (4.0, scipy.stats.nct.sf(threshold, size - 1, 4))):
        binomial(direction_aligned(correlated(size, shift, sign), sign, critical), want)


def test_ignoring_the_correlation_would_be_noticed(binomial):
    rng = np.random.default_rng(0)
    common = rng.normal(size=(64, TRIALS, 1))
    grads = common + 0.1 * rng.normal(size=(64, TRIALS, 10))
    naive_error = np.sqrt(grads.var(0, ddof=1).sum(-1) / 64)
    with pytest.raises(AssertionError):
        binomial(-grads.mean(0).sum(-1) / naive_error > 1.67, 0.05)


@pytest.mark.parametrize(
    ("derivatives", "want"),
    [
        ([0.0, 0.0, 0.0], True),
        ([-1.0, -1.0, -1.0], True),
        ([1.0, 1.0, 1.0], False),
        ([-1.0, 1.0, 0.0], False),
        ([-1.0, np.nan, -1.0], False),
        ([-1.0, -np.inf, -1.0], False),
        ([-1.0], False),
        ([0.0], False),
        ([], False),
        ([-1e-30, -1.1e-30, -0.9e-30], False),
    ],
)
def test_cases(derivatives, want):
    verdict = direction_aligned(jnp.asarray(derivatives, jnp.float32), DECREASE, jnp.float32(2.92))
    assert verdict.shape == ()
    assert bool(verdict) == want


def test_narrow_derivatives_and_trailing_axes():
    derivatives = jnp.asarray([[[-1.0, 1.0]], [[-1.25, 1.0]], [[-0.75, 1.5]]], jnp.bfloat16)
    assert direction_aligned(derivatives, DECREASE, jnp.float32(2.9)).tolist() == [[True, False]]
    assert direction_aligned(derivatives, INCREASE, jnp.float32(2.9)).tolist() == [[False, True]]
