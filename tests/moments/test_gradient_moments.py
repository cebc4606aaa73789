import functools

import chex
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from feasible_jax.alignment import aligned
from feasible_jax.moments import GradientMoments, moments_from_per_example, standard_error


@functools.partial(jax.jit, static_argnames="third")
def moments_of(grads, weights=None, third=False):
    """Compiled once a shape; what may be given instead of arrays is tried without."""
    return moments_from_per_example(grads, weights, third=third)


aligned_now = jax.jit(aligned)
fresh = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
seeds = st.integers(0, 2**32 - 1)
sizes = st.sampled_from([2, 3, 8, 33])
TINY = float(np.finfo(np.float32).tiny)


def stack(seed, size, scale=1.0, offset=0.0, shape=(3,)):
    z = np.random.default_rng(seed).normal(size=(size, *shape))
    return (scale * (offset + z)).astype(np.float32)


@fresh
@given(seed=seeds, size=sizes, offset=st.sampled_from([0.0, 1.0, -30.0]))
def test_equals_the_float64_oracle(moments_oracle, seed, size, offset):
    grads = {"w": stack(seed, size, offset=offset), "b": stack(seed + 1, size, shape=())}
    moments = moments_of(jax.tree.map(jnp.asarray, grads))
    for name, leaf in grads.items():
        mean, variance, count = moments_oracle(leaf)
        np.testing.assert_allclose(moments.mean[name], mean, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(moments.variance[name], variance, rtol=1e-4)
        assert moments.count == count


@fresh
@given(seed=seeds, size=sizes, exponent=st.integers(-30, 15))
def test_scales_from_tiny_to_huge(moments_oracle, seed, size, exponent):
    grads = stack(seed, size, scale=10.0**exponent)
    moments = moments_of(jnp.asarray(grads))
    mean, variance, _ = moments_oracle(grads)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-5, atol=1e-6 * 10.0**exponent)
    representable = variance > 1e4 * TINY
    np.testing.assert_allclose(
        np.asarray(moments.variance)[representable], variance[representable], rtol=2e-3
    )
    # Where squares underflow, noise is overstated, by a bounded amount, and never understated.
    lost = np.asarray(moments.variance)[~representable]
    assert np.all(lost >= variance[~representable] * (1 - 2e-3))
    assert np.all((lost >= TINY) & (lost <= 2e4 * TINY))


def test_squares_that_underflow_one_by_one_do_not_understate_their_sum():
    """64 deviations of 1e-19: each square is flushed to 0, and 64 of them are not small."""
    sign = np.where(np.arange(64) % 2, 1.0, -1.0)
    grads = jnp.asarray(1e-19 * sign + 0.3e-19, jnp.float32)  # t = 2.4
    moments = moments_of(grads)
    assert moments.variance >= 1e-38
    assert not aligned_now(jnp.float32(-1), *moments[:3], 1.0, 3.0)


def test_squares_of_which_only_the_largest_survive_do_not_understate_their_sum():
    """Two squares are normal numbers; the 62 that are not add up to as much."""
    sizes = np.sqrt(np.where(np.arange(64) < 2, 33 * TINY, 0.95 * TINY))
    grads = np.float32(sizes * np.where(np.arange(64) % 2, 1.0, -1.0))
    variance = moments_of(jnp.asarray(grads)).variance
    assert variance >= np.var(grads.astype(np.float64), ddof=1)


@pytest.mark.parametrize("ratio", [1e3, 1e4])
def test_nothing_cancels_where_the_mean_is_large(moments_oracle, ratio):
    grads = stack(0, 256, offset=ratio, shape=(50,))
    _, variance, _ = moments_oracle(grads)
    moments = moments_of(jnp.asarray(grads))
    np.testing.assert_allclose(moments.variance, variance, rtol=1e-4)
    # The textbook formula fails on the same input, so this test can fail.
    naive = jnp.mean(jnp.asarray(grads) ** 2, 0) - jnp.mean(jnp.asarray(grads), 0) ** 2
    assert np.max(np.abs(naive * 256 / 255 / variance - 1)) > 0.01


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_gradients_accumulate_in_float32(moments_oracle, dtype):
    grads = jnp.asarray(stack(3, 300, offset=20.0), dtype)
    moments = moments_of(grads)
    mean, variance, _ = moments_oracle(grads.astype(jnp.float32))
    chex.assert_type([moments.mean, moments.variance, moments.count], jnp.float32)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(moments.variance, variance, rtol=1e-4)


def test_mixed_dtypes_each_keep_their_own_width():
    with jax.enable_x64(True):
        grads = {"a": jnp.ones((3, 2), jnp.bfloat16), "b": jnp.ones((3,), jnp.float64)}
        moments = moments_of(grads)
        assert moments.mean["a"].dtype == jnp.float32
        assert moments.mean["b"].dtype == jnp.float64
        assert moments.count.dtype == jnp.float64


def test_float64_is_accurate_beyond_float32(moments_oracle):
    with jax.enable_x64(True):
        grads = np.random.default_rng(0).normal(size=(64, 5)) + 1e6
        moments = moments_of(jnp.asarray(grads))
        np.testing.assert_allclose(moments.variance, moments_oracle(grads)[1], rtol=1e-8)


def test_numpy_float64_is_taken_without_a_warning():
    moments = moments_from_per_example({"w": np.ones((3, 2))})
    assert moments.mean["w"].dtype == jnp.float32


@fresh
@given(seed=seeds, size=st.sampled_from([3, 8]), poison=st.sampled_from([0.0, np.nan, np.inf]))
def test_padding_of_any_content_changes_nothing(seed, size, poison):
    real = stack(seed, size)
    padded = np.concatenate([real, np.full((2, 3), poison, np.float32)])
    weights = jnp.array([1.0] * size + [0.0] * 2)
    scale = float(np.abs(real).max())
    chex.assert_trees_all_close(
        moments_of(jnp.asarray(padded), weights),
        moments_of(jnp.asarray(real)),
        rtol=1e-6,
        atol=1e-6 * max(scale, scale**2),  # a mean near 0 is a difference of large numbers
    )


@fresh
@given(seed=seeds, dtype=st.sampled_from(["int32", "float32", "bfloat16"]))
def test_a_weight_of_two_is_an_example_seen_twice(moments_oracle, seed, dtype):
    grads = stack(seed, 6)
    weights = np.random.default_rng(seed).integers(0, 4, size=6)
    moments = moments_of(jnp.asarray(grads), jnp.asarray(weights).astype(dtype))
    mean, variance, count = moments_oracle(grads, weights)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moments.variance, variance, rtol=1e-4, atol=TINY * 2e4)
    assert moments.count == count


@pytest.mark.parametrize("weights", [[True, True, False], np.array([True, True, False])])
def test_weights_may_be_booleans_or_a_list(weights):
    moments = moments_from_per_example(jnp.array([[1.0], [3.0], [9.0]]), weights)
    assert moments.mean[0] == 2
    assert moments.count == 2


@pytest.mark.parametrize(
    ("grads", "weights"),
    [
        (np.ones((1, 2)), None),
        (np.ones((4, 2)), np.array([0, 1, 0, 0])),
        (np.full((4, 2), 1e-30), np.array([0, 1, 0, 0])),
        (np.zeros((1, 2)), None),
    ],
)
def test_one_example_tells_nothing_of_noise(grads, weights):
    moments = moments_of(jnp.asarray(grads, jnp.float32), weights)
    assert np.all(np.isposinf(moments.variance))
    np.testing.assert_allclose(moments.mean, grads[0], rtol=1e-6)
    assert np.all(np.isposinf(standard_error(moments)))
    assert not np.any(aligned_now(-jnp.ones(2), *moments[:3], 1.0, 0.0))


@pytest.mark.parametrize("weights", [None, jnp.zeros((0,))])
def test_no_example_is_mean_zero_and_variance_infinite(weights):
    moments = moments_of(jnp.zeros((0, 2)), weights)
    chex.assert_trees_all_equal(
        moments, GradientMoments(jnp.zeros(2), jnp.full(2, jnp.inf), jnp.float32(0))
    )
    assert not np.any(aligned_now(-jnp.ones(2), *moments[:3], 1.0, 0.0))


def test_all_padding_is_like_no_example():
    moments = moments_of(jnp.full((3, 2), jnp.nan), jnp.zeros(3))
    chex.assert_trees_all_equal(
        moments, GradientMoments(jnp.zeros(2), jnp.full(2, jnp.inf), jnp.float32(0))
    )


def test_exact_zeros_stay_exact_zeros():
    moments = moments_of(jnp.zeros((7, 2)))
    assert not np.any(moments.mean)
    assert not np.any(moments.variance)


@pytest.mark.parametrize("value", [0.1, 1e-18, 1e15, -3.0])
def test_equal_gradients_have_next_to_no_variance(value):
    moments = moments_of(jnp.full((7, 2), value, jnp.float32))
    np.testing.assert_allclose(moments.mean, value, rtol=1e-6)
    assert np.all(moments.variance <= max((1e-6 * value) ** 2, 2e4 * TINY))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_evidence_that_is_not_finite_is_seen_and_stays_in_its_coordinate(bad):
    grads = stack(0, 5)
    grads[2, 1] = bad
    moments = moments_of(jnp.asarray(grads))
    assert not np.isfinite(moments.variance[1])
    assert np.all(np.isfinite(np.asarray(moments.variance)[[0, 2]]))


def test_a_sum_of_huge_gradients_does_not_overflow_the_mean():
    moments = moments_of(jnp.full((64, 1), 1e38))
    np.testing.assert_allclose(moments.mean, 1e38, rtol=1e-5)


def test_moments_too_large_to_square_pass_nothing():
    moments = moments_of(jnp.asarray(stack(0, 8, scale=1e25, offset=100.0)))
    assert np.all(np.isposinf(moments.variance))
    assert not np.any(aligned_now(-jnp.ones(3), *moments[:3], 1.0, 1.0))


def test_jit_gives_the_same():
    grads = jnp.asarray(stack(0, 16, offset=3.0))
    chex.assert_trees_all_close(moments_of(grads), moments_from_per_example(grads), rtol=1e-5)


def test_standard_error_is_the_root_of_variance_over_count():
    moments = GradientMoments({"w": jnp.zeros(2)}, {"w": jnp.array([4.0, 0.0])}, 16)
    np.testing.assert_allclose(standard_error(moments)["w"], [0.5, 0.0])


@pytest.mark.parametrize(
    ("grads", "weights", "words"),
    [
        ({}, None, ["no leaves", "one array a parameter"]),
        ({"a": jnp.ones((3, 2)), "b": jnp.ones((4,))}, None, ["['b']", "(4,)", "leading axis"]),
        ({"a": jnp.ones(())}, None, ["['a']", "()", "leading axis"]),
        ({"a": jnp.ones((3, 2))}, jnp.ones(2), ["weights", "(2,)", "3 examples", "(3,)"]),
        ({"a": jnp.ones((3, 2))}, jnp.ones((3, 1)), ["weights", "(3, 1)", "(3,)"]),
    ],
)
def test_errors_say_what_where_and_how_to_mend(grads, weights, words):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        moments_from_per_example(grads, weights)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.complex64])
def test_gradients_must_be_real_and_floating(dtype):
    with pytest.raises(TypeError, match=r"\['w'\] has dtype"):
        moments_from_per_example({"w": jnp.ones((3, 2), dtype)})


def lopsided(seed, size, scale=1.0, offset=0.0):
    z = np.random.default_rng(seed).exponential(size=(size, 3))
    return (scale * (offset + z)).astype(np.float32)


def test_there_is_no_third_unless_asked_for():
    assert moments_of(jnp.ones((4, 2))).third is None


@fresh
@given(seed=seeds, size=st.sampled_from([3, 4, 33]), exponent=st.integers(-9, 11))
def test_the_third_equals_the_float64_oracle_at_every_scale(third_oracle, seed, size, exponent):
    grads = {"w": lopsided(seed, size, 10.0**exponent), "b": stack(seed, size, shape=())}
    moments = moments_of(jax.tree.map(jnp.asarray, grads), third=True)
    for name, leaf in grads.items():
        spread = np.float64(leaf).std(0) ** 3
        error = np.abs(moments.third[name] - third_oracle(leaf)) / spread
        assert np.max(error) < 1e-4


def test_a_third_changes_nothing_else():
    grads = jnp.asarray(lopsided(0, 33))
    moments, without = (moments_from_per_example(grads, third=third) for third in (True, False))
    chex.assert_trees_all_equal(moments[:3], without[:3])


@fresh
@given(seed=seeds)
def test_in_the_third_a_weight_of_two_is_an_example_seen_twice(third_oracle, seed):
    grads, rng = lopsided(seed, 6), np.random.default_rng(seed)
    weights = rng.integers(0, 4, size=6)
    poisoned = jnp.where(weights[:, None] > 0, grads, jnp.nan)
    third = moments_of(poisoned, jnp.asarray(weights), third=True).third
    np.testing.assert_allclose(third, third_oracle(grads, weights), rtol=1e-4, atol=1e-4)


def test_the_third_does_not_cancel_where_the_mean_is_large(third_oracle):
    grads = lopsided(0, 256, offset=1e4)
    third = moments_of(jnp.asarray(grads), third=True).third
    np.testing.assert_allclose(third, third_oracle(grads), rtol=1e-4)


def test_the_third_of_narrow_and_of_wide_gradients(third_oracle):
    narrow = jnp.asarray(lopsided(3, 100), jnp.bfloat16)
    third = moments_of(narrow, third=True).third
    assert third.dtype == jnp.float32
    np.testing.assert_allclose(third, third_oracle(narrow.astype(jnp.float32)), rtol=1e-4)
    with jax.enable_x64(True):
        wide = np.random.default_rng(0).exponential(size=(64, 5)) + 1e6
        third = moments_of(jnp.asarray(wide), third=True).third
        assert third.dtype == jnp.float64
        np.testing.assert_allclose(third, third_oracle(wide), rtol=1e-8)


@pytest.mark.parametrize("weights", [[0, 0, 0], [1, 0, 0], [1, 1, 0], [2, 0, 0]])
def test_fewer_than_three_examples_have_no_third(weights):
    third = moments_of(jnp.asarray(stack(0, 3)), np.array(weights), third=True).third
    assert np.all(np.isnan(third))


def test_the_third_of_a_constant_is_zero_and_cubes_that_underflow_are_too():
    assert not np.any(moments_of(jnp.ones((5, 2)), third=True).third)
    tiny = jnp.asarray(lopsided(0, 5, 1e-20))
    assert not np.any(moments_of(tiny, third=True).third)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_third_that_is_not_finite_is_seen_and_stays_in_its_coordinate(bad):
    grads = lopsided(0, 5)
    grads[2, 1] = bad
    third = moments_of(jnp.asarray(grads), third=True).third
    assert np.isfinite(third).tolist() == [True, False, True]


def test_the_third_is_unbiased():
    """An exponential variable has a third central moment of 2."""
    grads = np.random.default_rng(0).exponential(size=(5, 200_000)).astype(np.float32)
    third = np.float64(moments_of(jnp.asarray(grads), third=True).third)
    assert abs(third.mean() - 2) < 4 * third.std() / np.sqrt(third.size)
