import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.alignment.mean_tests import betting_test

ALPHAS = (0.01, 0.05, 0.1, 0.2)


def holds(p, alpha):
    """The level, within 4.5 standard errors; the promise is exact."""
    return np.mean(p <= alpha) <= alpha + 4.5 * np.sqrt(alpha * (1 - alpha) / p.size)


@pytest.mark.parametrize("count", [2, 16, 64])
@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.95])
def test_level_on_rare_harm_at_every_count(p_values, count, share):
    """Also where most batches show no harm at all: 72% of them at 16 examples and 2%."""
    harmed = np.random.default_rng(6).random((4000, count)) < share
    p = p_values(betting_test(bound=1.0), np.where(harmed, 1.0, -share / (1 - share)))
    assert all(holds(p, alpha) for alpha in ALPHAS)


def test_level_without_replacement(p_values):
    population = np.minimum(np.random.default_rng(7).standard_exponential(60) / 3, 1)
    population -= population.mean()
    drawn = np.random.default_rng(8).permuted(np.tile(population, (4000, 1)), axis=1)
    test = betting_test(bound=1.0)
    for count in (20, 50):
        p = p_values(test, drawn[:, :count], 60)
        assert all(holds(p, alpha) for alpha in ALPHAS)
        improved = drawn[:, :count] - 0.2
        assert np.median(p_values(test, improved, 60)) < np.median(p_values(test, improved))


def test_wealth_by_hand():
    """One bet of 15/32 wins 10 times; all others of the mixture are counted too."""
    bets = 0.9375 * 0.5 ** np.arange(16)
    x = np.full(10, -2.0, np.float32)
    got = float(jax.jit(betting_test(bound=2.0).p_value)(jnp.asarray(x), None, None))
    assert got == pytest.approx(1 / np.mean((1 + bets) ** 10), rel=1e-4)
    x[0] = 1.0
    got = float(jax.jit(betting_test(bound=2.0).p_value)(jnp.asarray(x), None, None))
    assert got == pytest.approx(1 / np.mean((1 - bets / 2) * (1 + bets) ** 9), rel=1e-4)


def test_does_not_depend_on_the_order():
    x = np.random.default_rng(9).uniform(-2, 1, 30).astype(np.float32)
    several = [
        jax.jit(betting_test(1.0).p_value)(jnp.asarray(y), None, None) for y in (x, np.sort(x))
    ]
    assert float(several[0]) == pytest.approx(float(several[1]), rel=1e-4)


def test_harm_above_the_bound_counts_as_the_bound():
    x = jnp.full(30, -1.0).at[0].set(1.0)
    p_value = jax.jit(betting_test(1.0).p_value)
    at_bound, above = (float(p_value(x.at[0].set(harm), None, None)) for harm in (1.0, 1e6))
    assert above == pytest.approx(at_bound, rel=1e-4)


def test_certifies_plain_improvements(p_values):
    changes = np.random.default_rng(10).uniform(-1, 0.5, (500, 64))
    assert np.mean(p_values(betting_test(bound=1.0), changes) <= 0.05) > 0.6


@pytest.mark.parametrize("bound", [0.0, -1.0, float("inf"), float("nan")])
def test_needs_a_bound(bound):
    with pytest.raises(ValueError, match="bound="):
        betting_test(bound)
