import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings

from feasible_jax.alignment import (
    DECREASE,
    INCREASE,
    aligned,
    alignment_statistic,
    critical_value,
)
from feasible_jax.moments import moments_from_per_example

TRIALS = 20_000
TINY = float(np.finfo(np.float32).tiny)
INF, NAN = np.inf, np.nan


def passes(shift, size, confidence, *, test="student", sign=DECREASE, seed=0, update=None):
    """Which of many coordinates pass, whose true mean is ``shift`` standard errors of progress."""
    rng = np.random.default_rng(seed)
    update = rng.choice([-1e-3, 2.0], TRIALS) if update is None else update
    noise = rng.normal(size=(size, TRIALS)) * 7.0
    grads = noise - sign * np.sign(update) * shift * 7.0 / np.sqrt(size)
    moments = moments_from_per_example(jnp.asarray(grads, jnp.float32))
    critical = critical_value(test, confidence, size)
    return aligned(jnp.asarray(update, jnp.float32), *moments[:3], sign, critical)


@pytest.mark.parametrize("sign", [DECREASE, INCREASE])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize("size", [2, 3, 8, 64])
def test_under_the_null_the_size_is_alpha(binomial, size, confidence, sign):
    binomial(passes(0.0, size, confidence, sign=sign, seed=size), 1 - confidence)


@pytest.mark.parametrize("size", [8, 64])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_power_is_the_noncentral_t(binomial, size, confidence):
    threshold = scipy.stats.t.ppf(confidence, size - 1)
    for shift in (-1.0, 1.0, 4.0):
        want = scipy.stats.nct.sf(threshold, size - 1, shift)
        binomial(passes(shift, size, confidence, seed=size + 1), want)


def test_the_normal_critical_value_has_the_size_of_its_student_law(binomial):
    """And a test of size alpha would notice: at 8 examples the normal one has 7.2%, not 5%."""
    got = passes(0.0, 8, 0.95, test="normal")
    binomial(got, scipy.stats.t.sf(scipy.stats.norm.ppf(0.95), 7))
    with pytest.raises(AssertionError):
        binomial(got, 0.05)


def test_size_notices_a_wrong_sign_and_a_wrong_count(binomial):
    with pytest.raises(AssertionError):
        binomial(passes(-0.2, 64, 0.95), 0.05)
    rng = np.random.default_rng(0)
    mean, variance, count, _ = moments_from_per_example(
        jnp.asarray(rng.normal(size=(64, TRIALS)), jnp.float32)
    )
    with pytest.raises(AssertionError):
        binomial(aligned(jnp.ones(TRIALS), mean, variance, count * 1.2, 1.0, 1.67), 0.05)


def cases():
    """Update, mean, variance, count, and whether it passes a test at 0.95 to decrease."""
    yield "clear and right", -1.0, 5.0, 1.0, 16, True
    yield "clear and wrong", 1.0, 5.0, 1.0, 16, False
    yield "right but noisy", -1.0, 0.1, 1.0, 16, False
    yield "neutral", 1.0, 0.0, 0.0, 16, True
    yield "negative zero is neutral", 1.0, -0.0, 0.0, 16, True
    yield "neutral but unmoved", 0.0, 0.0, 0.0, 16, True
    yield "certain and right", -1.0, 1e-3, 0.0, 16, True
    yield "certain and wrong", 1.0, 1e-3, 0.0, 16, False
    yield "variance 0, mean too small to square", -1.0, 1e-25, 0.0, 16, False
    yield "mean 0, variance not", -1.0, 0.0, 1.0, 16, False
    yield "tiny variance is not neutral", -1.0, 0.0, TINY, 16, False
    yield "tiny variance, count large", -1.0, 0.0, TINY, 1e9, False
    yield "one observation", -1.0, 5.0, INF, 1, False
    yield "one observation said to be certain", -1.0, 5.0, 0.0, 1, False
    yield "one neutral observation", -1.0, 0.0, 0.0, 1, False
    yield "no observation", -1.0, 0.0, 0.0, 0, False
    for bad in (NAN, INF, -INF):
        yield f"mean {bad}", -1.0, bad, 1.0, 16, False
        yield f"mean {bad}, certain", -1.0, bad, 0.0, 16, False
        yield f"variance {bad}", -1.0, 5.0, bad, 16, False
        yield f"variance {bad}, mean 0", -1.0, 0.0, bad, 16, False
        yield f"update {bad}", bad, 5.0, 1.0, 16, False
        yield f"update {bad}, neutral", bad, 0.0, 0.0, 16, False
        yield f"count {bad}", -1.0, 5.0, 1.0, bad, False
        yield f"count {bad}, neutral", -1.0, 0.0, 0.0, bad, False
    yield "negative variance", -1.0, 5.0, -1.0, 16, False


@pytest.mark.parametrize("sign", [DECREASE, INCREASE])
@pytest.mark.parametrize(
    ("update", "mean", "variance", "count", "want"),
    [c[1:] for c in cases()],
    ids=[c[0] for c in cases()],
)
def test_every_case_is_decided_on_purpose(update, mean, variance, count, want, sign):
    update, mean, variance, count = map(jnp.float32, (update, sign * mean, variance, count))
    for critical in (1.75, INF) if not want or (mean == 0) else (1.75,):
        verdict = aligned(update, mean, variance, count, sign, jnp.float32(critical))
        assert bool(verdict) == want


@pytest.mark.parametrize("critical", [NAN, INF])
def test_without_a_critical_value_only_the_neutral_pass(critical):
    update, mean = -jnp.ones(3), jnp.array([0.0, 5.0, 5.0])
    verdict = aligned(update, mean, jnp.array([0.0, 1.0, 0.0]), 16, DECREASE, jnp.float32(critical))
    assert verdict.tolist() == [True, False, False]


@settings(max_examples=200, deadline=None)
@given(
    statistic=st.floats(-50, 50),
    deviation=st.integers(-15, 15),
    step=st.integers(-30, 15),
    count=st.sampled_from([2, 8, 1000]),
)
def test_neither_the_unit_of_the_loss_nor_the_step_size_matters(statistic, deviation, step, count):
    deviation = np.float32(10.0**deviation)
    mean = np.float32(statistic * deviation / np.sqrt(count))
    update = -np.float32(10.0**step)
    t = float(alignment_statistic(update, mean, deviation**2, count, DECREASE))
    assert t == pytest.approx(statistic, rel=1e-5, abs=1e-5)
    if abs(statistic - 2.0) > 1e-3 and abs(statistic) > 1e-10:
        verdict = aligned(update, mean, deviation**2, count, DECREASE, 2.0)
        assert bool(verdict) == (statistic > 2)


def test_zero_over_zero_is_no_statistic():
    zero = jnp.zeros(())
    assert np.isnan(alignment_statistic(jnp.ones(()), zero, zero, 4.0, DECREASE))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_dtypes_are_tested_in_float32(dtype):
    update, mean, variance = (jnp.asarray([x, x], dtype) for x in (-1.0, 0.5, 1.0))
    arguments = update, mean, variance, jnp.asarray(16, dtype), DECREASE
    assert aligned(*arguments, jnp.float32(1.99)).tolist() == [True, True]
    assert aligned(*arguments, jnp.float32(2.01)).tolist() == [False, False]
    assert alignment_statistic(*arguments).dtype == jnp.float32


def test_float64_evidence_for_float32_updates():
    with jax.enable_x64(True):
        verdict = aligned(jnp.float32(-1), jnp.float64(0.5), jnp.float64(1), 16, DECREASE, 1.99)
        assert bool(verdict)


def test_jit_decides_alike():
    rng = np.random.default_rng(0)
    update, mean, variance = jnp.asarray(rng.normal(size=(3, 500)) ** 3, jnp.float32)
    arguments = update, mean, jnp.square(variance), jnp.float32(8), DECREASE, jnp.float32(1.9)
    assert jax.jit(aligned)(*arguments).tolist() == aligned(*arguments).tolist()


@pytest.mark.parametrize("sign", [DECREASE, INCREASE])
def test_a_price_is_taken_off_the_progress(sign):
    rng = np.random.default_rng(1)
    update, mean, variance = rng.normal(size=(3, 2000))
    variance, price = variance**2, rng.gamma(1.0, 0.2, 2000)
    error = np.sqrt(variance / 16)
    excess = -sign * np.sign(update) * mean - price - 0.5 * error
    arrays = (jnp.asarray(x, jnp.float32) for x in (update, mean, variance, price))
    update, mean, variance, price = arrays
    got = aligned(update, mean, variance, 16, sign, jnp.float32(0.5), price)
    clear = np.abs(excess) > 1e-4
    np.testing.assert_array_equal(np.asarray(got)[clear], excess[clear] >= 0)
    free = aligned(update, mean, variance, 16, sign, jnp.float32(0.5))
    assert 0 < np.sum(got) < np.sum(free), "it makes a difference"
    same = aligned(update, mean, variance, 16, sign, jnp.float32(0.5), jnp.zeros_like(price))
    assert same.tolist() == free.tolist()


def test_a_price_at_the_ends():
    update, mean = -jnp.ones(4), jnp.array([0.0, 1.0, 1.0, 1.0])
    variance, price = jnp.array([0.0, 0.0, 0.0, 1.0]), jnp.array([0.0, 1.0, 1.5, INF])
    verdict = aligned(update, mean, variance, 8, DECREASE, jnp.float32(1.0), price)
    assert verdict.tolist() == [True, True, False, False]
    assert not aligned(*(jnp.float32(x) for x in (-1, 9, 1, 8)), DECREASE, 1.0, jnp.float32(NAN))
