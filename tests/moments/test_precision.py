import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.moments.precision import (
    accumulation_dtype,
    lift_squares,
    unbiased_third,
    unbiased_variance,
)


@pytest.mark.parametrize("narrow", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.int32, jnp.bool_])
def test_narrow_dtypes_accumulate_in_float32_even_under_strict_promotion(narrow):
    assert accumulation_dtype(jnp.ones(1, narrow), jnp.ones(1, jnp.bfloat16)) == jnp.float32


def test_one_float64_widens_the_sum():
    with jax.enable_x64(True):
        arrays = jnp.ones(1, jnp.float64), jnp.ones(1, jnp.bfloat16)
        assert accumulation_dtype(*arrays) == jnp.float64


def test_lifting_touches_only_sums_that_underflow_can_reach():
    count = jnp.float32(4)
    squares = jnp.array([0.0, 0.0, 1e-37, 1.0, jnp.nan, jnp.inf])
    differ = jnp.array([False, True, True, True, True, True])
    lifted = np.asarray(lift_squares(squares, differ, count))
    floor = 4 * 1024 * np.finfo(np.float32).tiny
    np.testing.assert_array_equal(lifted, np.float32([0, floor, floor, 1, np.nan, np.inf]))


def test_lifting_twice_is_lifting_once():
    count, yes = jnp.float32(4), jnp.array(True)
    once = lift_squares(jnp.array(0.0), yes, count)
    assert lift_squares(once, yes, count) == once


def test_a_lifted_variance_is_a_normal_number_whatever_the_count():
    for count in (2.0, 64.0, 1e6):
        squares = lift_squares(jnp.array(0.0), jnp.array(True), jnp.float32(count))
        variance = unbiased_variance(squares, jnp.float32(count))
        assert variance > np.finfo(np.float32).tiny


@pytest.mark.parametrize("count", [0.0, 1.0, np.nan])
def test_without_two_observations_the_variance_is_infinite(count):
    variance = unbiased_variance(jnp.array([0.0, 1.0, jnp.nan]), jnp.float32(count))
    assert np.all(np.isposinf(variance))


@pytest.mark.parametrize("count", [0.0, 1.0, 2.0, np.nan])
def test_without_three_observations_there_is_no_third(count):
    third = unbiased_third(jnp.array([0.0, 1.0, jnp.inf]), jnp.float32(count))
    assert np.all(np.isnan(third))


@pytest.mark.parametrize("count", [3, 4, 1000, 2**24])
def test_the_third_is_fishers_k_statistic(count):
    want = count / ((count - 1) * (count - 2)) * 5
    np.testing.assert_allclose(unbiased_third(jnp.array(5.0), jnp.float32(count)), want, rtol=1e-6)
