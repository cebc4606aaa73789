import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from feasible_jax.moments import GradientMoments, moments_from_per_example, skewness


def stack(seed, size, scale=1.0):
    z = np.random.default_rng(seed).exponential(size=(size, 3))
    return (scale * z).astype(np.float32)


def skewness_of(grads, weights=None):
    return skewness(moments_from_per_example(jnp.asarray(grads), weights, third=True))


@pytest.mark.parametrize("size", [3, 8, 100])
@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 1e6, 1e11])
def test_equals_scipy(size, scale):
    grads = stack(0, size, scale)
    want = scipy.stats.skew(np.float64(grads), bias=False)
    np.testing.assert_allclose(skewness_of(grads), want, rtol=1e-3)


def test_a_power_that_overflows_or_underflows_does_no_harm():
    """``variance ** 1.5`` is out of range in both."""
    for scale in (1e-14, 1e13):
        cube = np.float64(np.float32(1e37 if scale > 1 else 1e-37))
        moments = GradientMoments(
            jnp.zeros(1), jnp.full(1, scale**2), jnp.float32(9), jnp.full(1, cube)
        )
        np.testing.assert_allclose(skewness(moments), cube / scale**3, rtol=1e-5)


def test_a_tree_with_its_signs_and_dtypes():
    grads = {"right": jnp.asarray(stack(0, 64)), "left": jnp.asarray(-stack(0, 64), jnp.bfloat16)}
    got = skewness_of(grads["right"]), skewness_of(grads["left"])
    assert np.all(got[0] > 0.5)
    assert np.all(got[1] < -0.5)
    whole = skewness(moments_from_per_example(grads, third=True))
    assert {k: v.dtype for k, v in whole.items()} == dict.fromkeys(grads, jnp.float32)
    with jax.enable_x64(True):
        wide = jnp.asarray(np.float64(stack(0, 9)))
        assert skewness_of(wide).dtype == jnp.float64


def test_a_constant_is_symmetric():
    assert skewness_of(np.zeros((5, 2), np.float32)).tolist() == [0, 0]


@pytest.mark.parametrize("weights", [[0, 0, 0], [1, 0, 0], [1, 1, 0]])
def test_fewer_than_three_observations_have_none(weights):
    for grads in (stack(0, 3), np.zeros((3, 3), np.float32)):
        assert np.all(np.isnan(skewness_of(grads, weights)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_coordinate(bad):
    grads = stack(0, 5)
    grads[2, 1] = bad
    assert np.isnan(skewness_of(grads)).tolist() == [False, True, False]


def test_moments_that_overflow_have_none():
    assert np.all(np.isnan(skewness_of(stack(0, 9, 1e25))))


def test_cubes_that_underflow_understate():
    assert skewness_of(stack(0, 9, 1e-18)).tolist() == [0, 0, 0]


def test_moments_without_a_third_are_refused():
    with pytest.raises(ValueError, match="third=True"):
        skewness(moments_from_per_example(jnp.ones((3, 2))))
