import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from feasible_jax.alignment.mean_tests import gaffke_test, hall_test, student_test
from feasible_jax.alignment.mean_tests.gaffke import exponential_sum_tail

ALPHAS = (0.01, 0.05, 0.1, 0.2)
HARMED = {"5% harmed": 0.05, "2% harmed": 0.02}


def at_most(p, alpha, level):
    """Whether the rate of ``p <= alpha`` is at most a level, within 4.5 standard errors."""
    return np.mean(p <= alpha) <= level + 4.5 * np.sqrt(level * (1 - level) / p.size)


@pytest.mark.parametrize("count", [3, 16, 256])
@pytest.mark.parametrize("harm", [1.0, 5.0, 49.0])
def test_is_the_binomial_test_for_harm_of_one_size(count, harm):
    """Share q of harmed at the boundary, 1 / (1 + harm); p = P(binomial <= seen)."""
    bounded, estimated = (jax.jit(t.p_value) for t in (gaffke_test(worst=harm), gaffke_test()))
    for harmed in {0, 1, count // 10, count // 5}:
        x = np.full(count, -1.0, np.float32)
        x[:harmed] = harm
        if x.mean() > 0:
            continue
        want = scipy.stats.binom.cdf(harmed, count, 1 / (1 + harm))
        for p_value in [bounded] + [estimated] * (harmed > 1):
            assert float(p_value(jnp.asarray(x), None, None)) == pytest.approx(want, rel=0.07)


@pytest.mark.parametrize("shift", [-0.1, 0.0, 0.1])
def test_is_the_probability_that_it_approximates(shift):
    rng = np.random.default_rng(0)
    z = np.exp(rng.standard_normal(40)) - 1.65 - shift
    simulated = np.mean(rng.standard_exponential((200_000, 40)) @ z >= 0)
    got = float(exponential_sum_tail(jnp.asarray(z, jnp.float32), jnp.ones(40)))
    assert got == pytest.approx(simulated, rel=0.05)


def test_two_terms_in_closed_form():
    """P(a E > b E') = a / (a + b)."""
    tail = jax.jit(exponential_sum_tail)
    for a, b in ((1.0, 9.0), (1.0, 1.0), (9.0, 1.0)):
        got = float(tail(jnp.array([a, -b, 5.0]), jnp.array([1.0, 1.0, 0.0])))
        assert got == pytest.approx(a / (a + b), rel=0.1)


@pytest.mark.parametrize("scale", [1e2, 1e3, 1e4, 1e6, 1e8])
def test_far_out_it_is_an_upper_bound(scale):
    """P(scale E > the sum of 49 others) in closed form; Newton's method does not get there."""
    tail = jax.jit(exponential_sum_tail)
    z = jnp.full(50, -1.0).at[0].set(scale)
    certain = np.exp(49 * np.log(scale / (scale + 1)))
    assert float(tail(z, jnp.ones(50))) >= 0.95 * certain
    assert float(tail(-z, jnp.ones(50))) >= 0.95 * (1 - certain)


def test_hill_puts_the_witness():
    """Of 16 changes the 4 worst, here 8, 4, 2, 2 above a fifth at 1, tell the tail."""
    rest = [-1.0] * 10 + [-7.0]
    x = np.array([8.0, 4.0, 2.0, 2.0, 1.0, *rest], np.float32)
    assert x.mean() == 0
    x -= 0.25
    hill = np.mean(np.log([8.0, 4.0, 2.0, 2.0]))
    for index, h in ((1.01, hill), (2.0, 0.5), (3.0, 1 / 3), (np.inf, 0.0)):
        got = float(jax.jit(gaffke_test(tail_index=index).p_value)(jnp.asarray(x), None, None))
        z = np.append(x, -0.25 + 8 / (1 - min(h, 1 / index)))
        want = float(exponential_sum_tail(jnp.asarray(z, jnp.float32), jnp.ones(17)))
        assert got == pytest.approx(want, rel=1e-3)


@pytest.mark.parametrize("count", [2, 5, 12])
def test_a_batch_without_harm_is_no_certainty(count):
    x = jnp.linspace(-1.1, -1.0, count)
    assert float(jax.jit(gaffke_test().p_value)(x, None, None)) == pytest.approx(2.0 ** (1 - count))


@pytest.mark.parametrize("count", [16, 64])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
def test_level_at_every_count_where_the_worst_is_known(p_values, count, share):
    harmed = np.random.default_rng(6).random((4000, count)) < share
    changes = np.where(harmed, 1.0, -share / (1 - share))
    test = gaffke_test(worst=1.0)
    p = p_values(test, changes)
    assert all(at_most(p, alpha, 1.02 * alpha) for alpha in ALPHAS)
    p = p_values(test, np.random.default_rng(7).uniform(-1, 1, (4000, count)))
    assert all(at_most(p, alpha, alpha) for alpha in ALPHAS)


def test_level_on_half_of_a_skewed_population(p_values):
    rng = np.random.default_rng(4)
    population = np.exp(rng.standard_normal(400))
    population -= population.mean()
    changes = rng.permuted(np.tile(population, (2000, 1)), axis=1)[:, :200]
    test = gaffke_test()
    p = p_values(test, changes, 400)
    assert all(at_most(p, alpha, 1.25 * alpha) for alpha in ALPHAS)
    assert np.mean(p_values(test, changes - 4 * changes.std() / 20, 400) <= 0.05) > 0.6


def level_and_power(populations, p_values, draws, counts, alphas):
    """What was too much or too little, of what is possible: a batch may show none of the harm."""
    missed = []
    test = gaffke_test()
    for count in counts:
        for name, draw in populations.items():
            changes = draw(np.random.default_rng(11), (draws, count))
            unseen = (1 - HARMED[name]) ** count if name in HARMED else 0
            for sign in (1, -1):
                p = p_values(test, sign * changes)
                for alpha in alphas:
                    level = max((1.25 if count >= 256 else 2) * alpha, unseen * (sign == 1))
                    if not at_most(p, alpha, level):
                        missed.append((name, sign, count, alpha, np.mean(p <= alpha)))
                power = np.mean(p_values(test, sign * changes - 4 / count**0.5) <= 0.05)
                if power < 0.6 and unseen < 0.25:
                    missed.append((name, sign, count, "power", power))
    return missed


def test_level_and_power(populations, p_values):
    assert not level_and_power(populations, p_values, 2000, (64, 256), (0.05,))


@pytest.mark.slow
def test_level_and_power_thoroughly(populations, p_values):
    assert not level_and_power(populations, p_values, 20_000, (64, 128, 256, 1024), ALPHAS)


def test_others_do_not_hold_the_level(populations, p_values):
    """Why it is the default: 5% is 13% to Hall's and 21% to Student's."""
    changes = populations["lognormal, 1.5"](np.random.default_rng(12), (2000, 64))
    rates = [
        np.mean(p_values(t(), changes) <= 0.05) for t in (gaffke_test, hall_test, student_test)
    ]
    assert rates[0] < 0.075 < 0.1 < rates[1] < 0.17 < rates[2]


@pytest.mark.parametrize("worst", [0.0, -1.0, float("inf"), float("nan")])
def test_the_worst_is_harm(worst):
    with pytest.raises(ValueError, match="worst="):
        gaffke_test(worst=worst)


@pytest.mark.parametrize("tail_index", [1.0, float("nan")])
def test_a_tail_has_a_mean(tail_index):
    with pytest.raises(ValueError, match="tail_index="):
        gaffke_test(tail_index=tail_index)
