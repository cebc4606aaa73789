"""What every test of a mean promises alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("quick_compilation")

RNG = np.random.default_rng(0)
SKEWED = RNG.standard_exponential(40).astype(np.float32) - 1.3


def p(test, changes, weights=None, population_size=None):
    return float(test.p_value(jnp.asarray(changes), weights, population_size))


@pytest.mark.parametrize("population_size", [None, 1000])
def test_weights_of_zero_remove_the_rows(mean_test, population_size):
    want = p(mean_test, SKEWED, None, population_size)
    assert 0 < want < 1
    for places in (np.arange(40), np.sort(RNG.permutation(49)[:40])):
        changes, weights = np.full(49, 1e20, np.float32), np.zeros(49, np.float32)
        changes[places], weights[places] = SKEWED, 1
        got = p(mean_test, changes, jnp.asarray(weights), population_size)
        assert got == pytest.approx(want, rel=1e-4)


def test_padding_may_hold_anything(mean_test):
    changes = jnp.concatenate([jnp.asarray(SKEWED), jnp.array([jnp.nan, jnp.inf])])
    weights = jnp.concatenate([jnp.ones(40, bool), jnp.zeros(2, bool)])
    assert p(mean_test, changes, weights) == pytest.approx(p(mean_test, SKEWED), rel=1e-4)


def test_changes_that_are_all_zero_are_neutral(mean_test):
    assert p(mean_test, jnp.zeros(8)) == 0


@pytest.mark.parametrize("size", [1e-30, 0.1, 1e30])
def test_equal_harm(mean_test, size):
    assert p(mean_test, jnp.full(7, size)) == 1


@pytest.mark.parametrize("size", [1e-30, 0.1, 1e30])
def test_equal_improvements(studentised, size):
    assert p(studentised, jnp.full(7, -size)) == 0


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_what_is_not_finite_says_nothing(mean_test, bad):
    assert p(mean_test, jnp.array([-1.0, -2.0, bad, -1.5])) == 1


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("change", [-1.0, 0.0])
def test_fewer_than_two_examples_say_nothing(mean_test, count, change):
    weights = (jnp.arange(5) < count).astype(jnp.float32)
    assert p(mean_test, jnp.full(5, change), weights) == 1
    assert p(mean_test, jnp.full(count, change)) == 1


def test_two_examples_are_no_certainty(mean_test):
    assert 0 < p(mean_test, jnp.array([-1.0, -1.5])) < 1


@pytest.mark.parametrize("shift", [-0.05, 0.05])
def test_a_census_is_certain(mean_test, shift):
    changes = SKEWED - SKEWED.mean() + shift
    assert p(mean_test, changes, None, 40) == (0 if shift < 0 else 1)


def test_a_part_of_the_population_says_more_than_independent_draws(mean_test):
    changes = SKEWED - SKEWED.mean() - 0.2
    several = [p(mean_test, changes, None, size) for size in (50, 100, 1000, None)]
    assert several == sorted(several)
    assert several[0] < several[2] <= several[3]


def test_falls_as_all_changes_fall(mean_test):
    shifts = np.linspace(1, -2, 101, dtype=np.float32)
    one = jax.vmap(lambda shift: mean_test.p_value(SKEWED + 0.3 + shift, None, None))
    several = np.asarray(one(jnp.asarray(shifts)))
    assert (np.diff(several) <= 1e-5).all()
    assert several[0] > 0.5
    assert several[-1] < 0.01


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e10, 1e30])
def test_has_no_scale_of_its_own(studentised, scale):
    want = p(studentised, SKEWED)
    assert p(studentised, SKEWED * np.float32(scale)) == pytest.approx(want, rel=1e-4)


def test_never_nan(mean_test):
    batches = np.stack([*RNG.standard_normal((4, 7)), np.eye(7)[0], -np.eye(7)[0], np.arange(7.0)])
    scales = np.array([1e-38, 1e-30, 1e-10, 1.0, 1e10, 1e30, 1e37])
    changes = (scales[:, None, None] * batches).reshape(-1, 7).astype(np.float32)
    evaluate = jax.vmap(mean_test.p_value, (0, None, None))
    for population_size in (None, 3, 7, 8, 10**9):
        several = np.asarray(evaluate(jnp.asarray(changes), None, population_size))
        assert ((several >= 0) & (several <= 1)).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_is_float32_or_wider(mean_test, dtype):
    got = mean_test.p_value(jnp.asarray(SKEWED, dtype), None, None)
    assert got.dtype == jnp.float32
    assert float(got) == pytest.approx(p(mean_test, SKEWED), rel=0.1)


def test_is_float64_for_float64(mean_test):
    with jax.enable_x64(True):
        got = mean_test.p_value(jnp.asarray(SKEWED, "float64"), jnp.ones(40), jnp.int32(500))
        assert got.dtype == jnp.float64
        assert float(got) == pytest.approx(p(mean_test, SKEWED, None, 500), rel=1e-3)


def test_population_size_may_be_traced(mean_test):
    got = jax.jit(mean_test.p_value)(jnp.asarray(SKEWED), jnp.ones(40, jnp.int32), jnp.int32(90))
    assert float(got) == pytest.approx(p(mean_test, SKEWED, None, 90), rel=1e-5)


def test_one_number_an_example(mean_test):
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        mean_test.p_value(jnp.ones((2, 3)), None, None)
    with pytest.raises(ValueError, match=r"\(4,\)"):
        mean_test.p_value(jnp.ones(3), jnp.ones(4), None)
