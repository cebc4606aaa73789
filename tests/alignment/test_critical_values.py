import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from feasible_jax.alignment import (
    critical_value,
    critical_value_at,
    normal_quantile,
    student_quantile,
)

TAILS = np.geomspace(1e-5, 0.5, 60)
PROBABILITIES = np.unique(np.concatenate([TAILS * 10, TAILS, 1 - TAILS]).clip(1e-5, 1 - 1e-5))
DEGREES = np.unique(np.concatenate([np.arange(3.0, 40), np.geomspace(40, 1e6, 40), [3.3, 7.5]]))
HILL = 2e-5  # the accuracy of the algorithm itself, as its docstring says
FLOAT32 = 5e-6
student = jax.jit(student_quantile)


def grid(dtype, degrees):
    p, n = np.meshgrid(PROBABILITIES.astype(dtype), np.asarray(degrees, dtype))
    got = student(jnp.asarray(p), jnp.asarray(n))
    # The oracle gets the same rounded inputs: a tail of 1e-5 has but three digits in float32.
    return np.asarray(got), scipy.stats.t.ppf(p.astype(np.float64), n.astype(np.float64))


@pytest.mark.parametrize("x64", [False, True])
def test_student_equals_scipy_from_three_degrees_on(x64):
    with jax.enable_x64(x64):
        got, want = grid(np.float64 if x64 else np.float32, DEGREES)
    np.testing.assert_allclose(got, want, rtol=HILL if x64 else HILL + FLOAT32, atol=1e-6)


@pytest.mark.parametrize("degrees", [1, 2])
@pytest.mark.parametrize("x64", [False, True])
def test_student_is_exact_at_one_and_two_degrees(degrees, x64):
    with jax.enable_x64(x64):
        got, want = grid(np.float64 if x64 else np.float32, [degrees])
    np.testing.assert_allclose(got, want, rtol=1e-12 if x64 else FLOAT32, atol=1e-6)


@pytest.mark.parametrize("degrees", [1.01, 1.5, 1.99, 2.01, 2.5, 2.99])
def test_student_between_one_and_three_degrees_is_conservative(degrees):
    got, want = grid(np.float32, [degrees])
    assert np.all(np.abs(got) >= np.abs(want) * (1 - FLOAT32))


@pytest.mark.parametrize("degrees", [0.0, -1.0, 0.999, -np.inf, np.nan])
def test_below_one_degree_nothing_can_be_said(degrees):
    got = student_quantile(jnp.array([0.01, 0.5, 0.95]), jnp.float32(degrees))
    assert np.all(np.isposinf(got))


@pytest.mark.parametrize("degrees", [1e7, 1e12, np.inf])
def test_student_ends_at_the_normal_quantile(degrees):
    p = jnp.array([0.001, 0.4, 0.5, 0.95, 0.99999])
    np.testing.assert_allclose(
        student_quantile(p, jnp.float32(degrees)), normal_quantile(p), rtol=1e-5
    )


@settings(max_examples=100, deadline=None)
@given(p=st.floats(0.5, 0.99999), degrees=st.floats(1, 1e6), more=st.floats(1, 10))
def test_student_falls_towards_the_normal_and_rises_with_the_confidence(p, degrees, more):
    p, degrees, more, nearer = map(np.float32, (p, degrees, degrees * more, p + (1 - p) * 0.5))
    here = float(student(p, degrees))
    assert here >= float(student(p, more)) * (1 - 5e-5)
    assert here >= float(normal_quantile(p)) * (1 - 5e-5)
    assert here <= float(student(nearer, degrees)) * (1 + 5e-5)
    # 1 - p is exact in float32 for p >= 0.5, and so is the symmetry.
    assert float(student(1 - p, degrees)) == -here


@pytest.mark.parametrize("test", ["normal", "student"])
def test_half_is_zero_and_the_ends_are_infinite(test):
    values = [float(critical_value(test, p, 10.0)) for p in (0.0, 0.5, 1.0)]
    assert values == [-np.inf, 0.0, np.inf]


@pytest.mark.parametrize("count", [2.0, 3.0, 4.0, 64.0])
@pytest.mark.parametrize("test", ["normal", "student"])
@pytest.mark.parametrize("confidence", [-0.5, 1.5, np.nan])
def test_what_is_no_probability_gives_nan_so_that_no_test_passes(test, confidence, count):
    assert np.isnan(critical_value(test, jnp.float32(confidence), count))


def test_normal_equals_scipy():
    p = PROBABILITIES.astype(np.float32)
    want = scipy.stats.norm.ppf(p.astype(np.float64))
    np.testing.assert_allclose(normal_quantile(jnp.asarray(p)), want, rtol=FLOAT32, atol=1e-6)


def test_critical_value_of_student_has_count_minus_one_degrees():
    want = scipy.stats.t.ppf(0.95, 7)
    np.testing.assert_allclose(critical_value("student", 0.95, 8), want, rtol=1e-5)
    np.testing.assert_allclose(critical_value("normal", 0.95, 8), 1.6448536, rtol=1e-6)
    assert np.isposinf(critical_value("student", 0.95, 1))


@pytest.mark.parametrize("test", ["normal", "student"])
@pytest.mark.parametrize("count", [2, 3, 4, 8, 64, 1000])
def test_tiny_levels_keep_their_digits(test, count):
    levels = np.float32([0.3, 0.05, 1e-3, 1e-6, 1e-9, 1e-12])
    law = scipy.stats.norm if test == "normal" else scipy.stats.t(count - 1)
    got = critical_value_at(test, jnp.asarray(levels), jnp.float32(count))
    np.testing.assert_allclose(got, law.isf(levels.astype(np.float64)), rtol=1e-4)
    # By the confidence they are lost: 1 - 1e-9 is 1 in float32.
    assert np.isposinf(critical_value(test, jnp.float32(1 - 1e-9), jnp.float32(count)))


@pytest.mark.parametrize("test", ["normal", "student"])
def test_at_no_level_nothing_passes(test):
    assert np.isposinf(critical_value_at(test, 0.0, 8.0))
    assert np.isnan(critical_value_at(test, -0.1, 8.0))
    assert np.isnan(critical_value_at(test, 1.1, 8.0))
    assert float(critical_value_at(test, 0.5, 8.0)) == 0
    assert np.isposinf(critical_value_at("student", 0.05, 1.0)), "one observation says nothing"


@pytest.mark.parametrize("test", ["normal", "student"])
def test_arguments_may_be_traced_and_are_compiled_once(test):
    traced = jax.jit(lambda p, n: critical_value(test, p, n))
    for p, n in ((0.9, 5.0), (0.99, 64.0)):
        want = critical_value(test, p, n)
        np.testing.assert_allclose(traced(jnp.float32(p), jnp.float32(n)), want, rtol=1e-5)
    assert traced._cache_size() == 1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int32, jnp.float32])
def test_counts_of_any_dtype_give_float32(dtype):
    value = critical_value("student", jnp.float32(0.95), jnp.asarray(16, dtype))
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, scipy.stats.t.ppf(0.95, 15), rtol=1e-5)


def test_dtypes_may_differ():
    with jax.enable_x64(True):
        value = critical_value("student", jnp.float32(0.95), jnp.float64(16))
        assert value.dtype == jnp.float64


def test_unknown_tests_are_refused():
    with pytest.raises(ValueError, match=r"test='wald'.*'normal', 'student'"):
        critical_value("wald", 0.95, 10)
