"""Online control of the false discovery rate: what it spends, what it bounds, what it lets pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.alignment import alpha_spending, online_fdr

ALPHA = 0.1
_RATES = np.array([0.5, 0.9, 0.99, 0.999])


def gamma(j):
    return np.mean((1 - _RATES) * _RATES ** (np.asarray(j)[..., None] - 1), axis=-1)


def oracle(accepted, wealth):
    """LORD++ as it is written, by a sum over the times of all rejections."""
    shares, times = [], []
    for t, passed in enumerate(accepted, start=1):
        share = wealth * gamma(t)
        share += sum((1 - wealth * (i == 0)) * gamma(t - tau) for i, tau in enumerate(times))
        shares.append(float(share))
        times += [t] * bool(passed)
    return np.array(shares)


def shares_of(accepted, wealth=0.5):
    spending = online_fdr(wealth)

    def step(state, passed):
        return spending.after(state, passed), spending.share(state)

    return np.asarray(jax.lax.scan(step, spending.init(), jnp.asarray(accepted))[1], np.float64)


def test_what_it_earns_is_all_that_there_is():
    assert gamma(np.arange(1, 20_000)).sum() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("wealth", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("often", [0.0, 0.02, 0.5, 1.0])
def test_four_numbers_are_as_good_as_all_times_of_passing(wealth, often):
    accepted = np.random.default_rng(1).random(300) < often
    np.testing.assert_allclose(shares_of(accepted, wealth), oracle(accepted, wealth), rtol=1e-4)


@pytest.mark.parametrize("often", [0.0, 0.02, 0.5, 0.98, 1.0])
def test_the_sum_of_the_levels_never_exceeds_what_was_earned(often):
    """The invariant that the bound rests on, at all times."""
    accepted = np.random.default_rng(2).random(5000) < often
    shares = shares_of(accepted)
    passed = np.concatenate([[0], accepted[:-1].cumsum()])  # before each test
    assert np.all(shares.cumsum() <= np.maximum(passed, 1) * (1 + 1e-5))
    assert np.all((shares >= 0) & (shares <= 1 + 1e-6))
    if often == 1.0:
        assert shares[-1] > 0.95, "hardly anything is lost where all pass"


def test_a_first_pass_after_thousands_of_tests_earns_what_was_not_spent_before():
    """What comes closest to the bound: all that it began with is spent, then one passes."""
    accepted = np.arange(40_000) == 20_000
    shares = shares_of(accepted)
    assert 0.499 < shares[:20_001].sum() <= 0.5 * (1 + 1e-5)
    assert 0.99 < shares.sum() <= 1 + 1e-5


def test_wide_numbers_change_no_types():
    with jax.enable_x64(True):
        spending = online_fdr()
        state = spending.after(spending.init(), jnp.bool_(True))
        assert {x.dtype for x in (spending.init(), state, spending.share(state))} == {
            jnp.dtype("float32")
        }


def test_it_may_be_made_while_tracing():
    made = []
    jax.jit(lambda: made.append(online_fdr()) or 0)()
    assert made[0].share(made[0].init()) > 0


def run(rng, null, power, runs=4000, length=150):
    """Which tests pass and which of these are false: ``null`` says who is, from what passed."""
    spending = online_fdr()

    def step(carry, draws):
        state, passed_last = carry
        is_null = draws[0] < null(passed_last)
        # Of a test with power: p-values that are mostly tiny.
        p_value = jnp.where(is_null, draws[1], draws[1] ** power)
        passed = p_value <= ALPHA * spending.share(state)
        return (spending.after(state, passed), passed), (passed, passed & is_null)

    def one(draws):
        start = spending.init(), jnp.zeros((), bool)
        return jax.lax.scan(step, start, draws)[1]

    draws = jnp.asarray(rng.random((runs, length, 2)), jnp.float32)
    return [np.asarray(x) for x in jax.jit(jax.vmap(one))(draws)]


@pytest.mark.parametrize("share_of_nulls", [0.5, 0.95, 1.0])
def test_of_independent_tests_few_that_pass_are_false(share_of_nulls):
    """The false discovery rate, ``E[false / max(passed, 1)]``; a fixed level breaks it."""
    rng = np.random.default_rng(3)
    passed, false = run(rng, lambda _: share_of_nulls, power=12.0)
    rate = false.sum(1) / np.maximum(passed.sum(1), 1)
    error = rate.std() / np.sqrt(len(rate))
    assert rate.mean() <= ALPHA + 4 * error
    if share_of_nulls == 0.95:
        nulls = rng.random((4000, 150)) < 0.95
        p = rng.random((4000, 150)) ** np.where(nulls, 1, 12.0)
        fixed = p <= ALPHA
        assert (fixed & nulls).sum() / fixed.sum() > 4 * ALPHA, "what it is there to prevent"


def test_what_depends_on_what_passed_before_is_bounded_too():
    """After a success only harm is proposed: the false are few among those that pass, in number."""
    passed, false = run(np.random.default_rng(4), lambda last: jnp.where(last, 1.0, 0.7), 12.0)
    bound = ALPHA * np.maximum(passed.sum(1), 1)
    over = false.sum(1) - bound
    assert over.mean() <= 4 * over.std() / np.sqrt(len(over))
    assert false.sum() > 100, "there was harm to be found"


def test_it_lets_more_pass_than_a_level_for_the_whole_run():
    """Where half of the updates are good, a bound on any error at all is far stricter."""
    rng = np.random.default_rng(5)
    passed, false = run(rng, lambda _: 0.5, power=12.0)
    fixed = alpha_spending(150)(jnp.int32(0)) * ALPHA
    p = rng.random((4000, 150)) ** np.where(rng.random((4000, 150)) < 0.5, 1, 12.0)
    assert (passed & ~false).mean() > 1.3 * (p <= fixed).mean()


@pytest.mark.parametrize("wealth", [0, 1, -0.5, 2.0, np.nan])
def test_wealths_outside_the_unit_interval_are_refused(wealth):
    with pytest.raises(ValueError, match=rf"wealth={wealth}: give a fraction"):
        online_fdr(wealth)
