import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from feasible_jax.alignment.mean_tests import student_test
from feasible_jax.alignment.mean_tests.student import student_probability


@pytest.mark.parametrize("count", [2, 3, 9, 10, 11, 64, 1000])
def test_agrees_with_scipy(count):
    for shift in (-1.0, -0.3, 0.0, 0.5):
        x = np.random.default_rng(1).standard_normal(count).astype(np.float32) + shift
        got = float(jax.jit(student_test().p_value)(jnp.asarray(x), None, None))
        want = scipy.stats.ttest_1samp(x.astype(float), 0.0, alternative="less").pvalue
        assert got == pytest.approx(want, rel=2e-4)


@pytest.mark.parametrize(("x64", "tolerance"), [(False, 2e-5), (True, 1e-9)])
def test_the_tail_keeps_its_digits(x64, tolerance):
    t, degrees = np.meshgrid(
        [-30.0, -10, -6, -3, -1, 0, 0.5, 4], [1.0, 2, 3, 9, 29, 30, 63, 1e4, 1e6]
    )
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        got = np.asarray(student_probability(jnp.asarray(t, dtype), jnp.asarray(degrees, dtype)))
    want = scipy.stats.t.cdf(t, degrees)
    shown = want > 1e-20
    np.testing.assert_allclose(got[shown], want[shown], rtol=tolerance)
    assert (got[~shown] < 1e-20).all()


def test_far_out_is_0_and_1():
    t = jnp.array([-jnp.inf, -1e30, 1e30, jnp.inf])
    for degrees in (1.0, 5.0, 1e3, 1e8):
        got = np.asarray(student_probability(t, jnp.full(4, degrees)))
        np.testing.assert_allclose(got, [0, 0, 1, 1], atol=1e-20)


def test_level_on_normal_changes(populations, p_values, binomial):
    changes = populations["normal"](np.random.default_rng(2), (4000, 16))
    p = p_values(student_test(), changes)
    for alpha in (0.01, 0.05, 0.2):
        binomial(p <= alpha, alpha)
