"""Populations at the boundary of harm, of mean 0 and deviation 1, and the tests to try on them."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.alignment.mean_tests import MeanTest, betting_test, gaffke_test, resolve_mean_test

NAMES = ["normal", "student", "hall", "bootstrap", "gaffke"]


def lognormal(sigma):
    mean = math.exp(sigma**2 / 2)
    deviation = mean * math.sqrt(math.expm1(sigma**2))
    return lambda rng, shape: (np.exp(sigma * rng.standard_normal(shape)) - mean) / deviation


def rarely_harmed(share):
    small = share / (1 - share)

    def draw(rng, shape):
        noise = 0.05 * small * rng.standard_normal(shape)
        changes = np.where(rng.random(shape) < share, 1.0, -small) + noise
        return changes / math.sqrt(share + (1 - share) * small**2 + (0.05 * small) ** 2)

    return draw


POPULATIONS = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "student, 3": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3),
    "exponential": lambda rng, shape: rng.standard_exponential(shape) - 1,
    "lognormal, 1": lognormal(1.0),
    "lognormal, 1.5": lognormal(1.5),
    "Pareto, 3": lambda rng, shape: (rng.pareto(3, shape) - 0.5) / math.sqrt(0.75),
    "5% harmed": rarely_harmed(0.05),
    "2% harmed": rarely_harmed(0.02),
}


@pytest.fixture(scope="session")
def populations():
    return POPULATIONS


@functools.cache
def over_draws(test):
    return jax.jit(jax.vmap(test.p_value, (0, None, None)))


@pytest.fixture(scope="session")
def p_values():
    """``(test, (draws, B)) -> (draws,)``, compiled once a test and shape."""

    def evaluate(test, changes, population_size=None):
        changes = jnp.asarray(changes, jnp.float32)
        return np.asarray(over_draws(test)(changes, None, population_size))

    return evaluate


def compiled(test):
    return MeanTest(test.name, jax.jit(test.p_value))


# Compiled once for all that is asked of them.
STUDENTISED = {name: compiled(resolve_mean_test(name)) for name in NAMES}
ALL = {
    **STUDENTISED,
    "betting": compiled(betting_test(bound=5.0)),
    "gaffke, worst known": compiled(gaffke_test(worst=5.0)),
}


@pytest.fixture(params=STUDENTISED)
def studentised(request):
    """A test that knows no scale but that of its batch."""
    return STUDENTISED[request.param]


@pytest.fixture(params=ALL)
def mean_test(request):
    return ALL[request.param]
