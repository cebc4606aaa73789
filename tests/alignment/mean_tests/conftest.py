"""Populations at the boundary of harm, mean 0 and deviation 1, and the tests that are studentised."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.alignment.mean_tests import betting_test, gaffke_test, resolve_mean_test

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


@pytest.fixture(scope="session")
def p_values():
    """``(test, (draws, B)) -> (draws,)``."""

    def evaluate(test, changes, population_size=None):
        one = jax.vmap(lambda x: test.p_value(x, None, population_size))
        return np.asarray(jax.jit(one)(jnp.asarray(changes, jnp.float32)))

    return evaluate


@pytest.fixture(params=NAMES)
def studentised(request):
    """A test that knows no scale but that of its batch."""
    return resolve_mean_test(request.param)


@pytest.fixture(params=[*NAMES, "betting", "gaffke, worst known"])
def mean_test(request):
    if request.param == "betting":
        return betting_test(bound=5.0)
    if request.param == "gaffke, worst known":
        return gaffke_test(worst=5.0)
    return resolve_mean_test(request.param)
