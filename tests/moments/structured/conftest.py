"""The slow oracle of the room: per-example gradients in float64, their moments by NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.moments import GradientMoments, grad_moments
from feasible_jax.moments.structured import trace_program
from feasible_jax.moments.structured.plan import make_plan
from feasible_jax.moments.structured.ways import choose_ways


@pytest.fixture(autouse=True, scope="module")
def _quick(quick_compilation):
    """These tests compile far more than they compute."""


def widen(tree):
    """Floating leaves in float64, where float64 is on."""

    def one(leaf):
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.asarray(np.asarray(leaf, np.float64)) if floating else jnp.asarray(leaf)

    return jax.tree.map(one, tree)


# Compiled once for all that is asked of a loss at one shape.
@functools.lru_cache(maxsize=64)
def gradients_of(loss):
    return jax.jit(jax.vmap(jax.grad(loss), (None, 0)))


@functools.lru_cache(maxsize=64)
def structured(loss, third):
    return jax.jit(grad_moments(loss, "structured", third=third, microbatch_size=3))


def moments_in_float64(loss, params, batch, weights=None, third=True):
    with jax.enable_x64(True):
        grads = jax.tree.map(np.asarray, gradients_of(loss)(widen(params), widen(batch)))
    if weights is not None:
        times = np.asarray(weights).astype(int)
        grads = jax.tree.map(lambda grad: np.repeat(grad, times, axis=0), grads)
    n = len(jax.tree.leaves(grads)[0])
    mean = jax.tree.map(lambda grad: grad.mean(0), grads)
    variance = jax.tree.map(lambda grad: grad.var(0, ddof=1), grads)
    cubes = jax.tree.map(lambda grad: np.sum((grad - grad.mean(0)) ** 3, axis=0), grads)
    thirds = jax.tree.map(lambda total: n / (n - 1) / (n - 2) * total, cubes) if third else None
    return GradientMoments(mean, variance, n, thirds)


def largest(tree):
    return max((np.max(np.abs(leaf), initial=0) for leaf in jax.tree.leaves(tree)), default=0)


def normwise_error(got, want, mean, power, floor):
    """Against the largest entry of a parameter.

    A variance of exactly 0 is known to rounding of the mean squared; a gradient of exactly 0, such
    as of a bias before a normalisation, to rounding of the gradients of other parameters.
    """
    scale = largest(want) + largest(mean) ** power + floor**power
    error = largest(np.asarray(got, np.float64) - want)
    return error if scale == 0 else error / scale


def errors_of(got, want):
    floor = 0.01 * largest(want.mean)
    fields = ("mean", "variance") if want.third is None else ("mean", "variance", "third")
    found = {}
    for power, name in enumerate(fields, start=1):
        trees = getattr(got, name), getattr(want, name), want.mean
        errors = jax.tree.map(lambda g, w, m, p=power: normwise_error(g, w, m, p, floor), *trees)
        found[name] = max(jax.tree.leaves(errors))
    return found


def check_moments(got, want, rtol):
    for name, error in errors_of(got, want).items():
        # Cubes of deviations carry three roundings each. NaN is to fail, so not `error > rtol`.
        assert error < (5 * rtol if name == "third" else rtol), (name, error)
    np.testing.assert_allclose(got.count, want.count, rtol=1e-6)


def check(loss, params, batch, weights=None, third=True, rtol=1e-5):
    got = structured(loss, third)(params, batch, weights)
    check_moments(got, moments_in_float64(loss, params, batch, weights, third), rtol)
    return got


@pytest.fixture(scope="session")
def assert_oracle():
    """``(loss, params, batch, weights, third, rtol)``: structured against vmap in float64."""
    return check


@pytest.fixture(scope="session")
def assert_moments():
    """``(got, want, rtol)``, normwise."""
    return check_moments


@pytest.fixture(scope="session")
def moment_errors():
    """``(got, want)``: the largest normwise error of each moment, by name."""
    return errors_of


@pytest.fixture(scope="session")
def wide_oracle():
    return moments_in_float64


@pytest.fixture(scope="session")
def plan_of():
    return lambda loss, params, batch: make_plan(trace_program(loss, params, batch))


@pytest.fixture(scope="session")
def ways_of(plan_of):
    def ways(loss, params, batch):
        size = jax.tree.leaves(batch)[0].shape[0]
        return choose_ways(plan_of(loss, params, batch), size)

    return ways


@pytest.fixture
def normal():
    """``(*shape)``: float32 normal numbers, the same in every run of a test."""
    rng = np.random.default_rng(0)
    return lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)


@pytest.fixture
def integers():
    rng = np.random.default_rng(1)
    return lambda low, high, *shape: jnp.asarray(rng.integers(low, high, shape), jnp.int32)
