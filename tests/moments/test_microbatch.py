import chex
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from feasible_jax.moments import moments_from_per_example, per_example_gradients
from feasible_jax.moments.microbatch import microbatch_moments

fresh = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def loss(params, example):
    return jnp.square(jnp.vdot(params["w"], example) + params["b"])


PARAMS = {"w": jnp.array([0.3, -1.0]), "b": jnp.float32(0.1)}
scan = jax.jit(microbatch_moments, static_argnums=(0, 4), static_argnames=("third", "has_aux"))
gradients = jax.jit(per_example_gradients, static_argnums=0)
moments_of = jax.jit(moments_from_per_example, static_argnames="third")


def examples(seed, size):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(size, 2)), jnp.float32)


@fresh
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([5, 8]),
    chunk=st.sampled_from([1, 3, 8]),
    weighted=st.booleans(),
)
def test_equals_the_whole_batch_at_once(seed, size, chunk, weighted):
    batch = examples(seed, size)
    weights = jnp.asarray(np.random.default_rng(seed).integers(0, 3, size), jnp.float32)
    weights = weights if weighted else jnp.ones(size)
    losses, moments = scan(loss, PARAMS, batch, weights, chunk)
    want_losses, grads = gradients(loss, PARAMS, batch)
    chex.assert_trees_all_close(losses, want_losses, rtol=1e-5)
    chex.assert_trees_all_close(moments, moments_of(grads, weights), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 3, 6])
def test_a_padded_row_may_hold_anything_and_its_copies_too(poison, place):
    """A ragged last chunk is filled with copies of the first row: poison it as well."""
    batch = examples(0, 7)
    weights = jnp.ones(7).at[place].set(0)
    real = jnp.delete(batch, place, axis=0)
    _, grads = gradients(loss, PARAMS, real)
    _, moments = scan(loss, PARAMS, batch.at[place].set(poison), weights, 4)
    chex.assert_trees_all_close(moments, moments_of(grads), rtol=1e-4)


def test_the_mean_may_be_large_beside_the_noise(moments_oracle):
    batch = examples(0, 64) + jnp.float32(1e4)
    _, moments = scan(lambda w, x: jnp.vdot(w, x), jnp.ones(2), batch, jnp.ones(64), 3)
    np.testing.assert_allclose(moments.variance, moments_oracle(batch)[1], rtol=3e-3)


def test_random_keys_travel_with_the_examples():
    def noisy(w, example):
        key, x = example
        return w * jax.random.normal(key) * x

    batch = jax.random.split(jax.random.key(0), 5), jnp.arange(5.0)
    losses, moments = scan(noisy, jnp.float32(1), batch, jnp.ones(5), 2)
    want_losses, grads = gradients(noisy, jnp.float32(1), batch)
    chex.assert_trees_all_close((losses, moments), (want_losses, moments_of(grads)))


def test_memory_holds_a_few_examples_not_the_batch():
    """256 gradients of 100,000 coordinates are 100 MiB; a scan of 4 stays far below."""
    params = jnp.ones(100_000)
    batch = jnp.ones((256, 1))

    def simple(w, x):
        return jnp.sum(jnp.square(w)) * x[0]

    compiled = scan.lower(simple, params, batch, jnp.ones(256), 4).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 20 * 2**20


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_thirds_are_those_of_the_whole_batch_at_once(chunk):
    batch, weights = examples(0, 7), jnp.array([1, 0, 2, 1, 1, 3, 0])
    _, grads = gradients(loss, PARAMS, batch)
    _, moments = scan(loss, PARAMS, batch, weights, chunk, third=True)
    want = moments_of(grads, weights, third=True)
    chex.assert_trees_all_close(moments, want, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_aux_comes_along_without_the_padding(chunk):
    def with_aux(params, example):
        value = loss(params, example)
        return value, {"example": example, "twice": 2 * value}

    batch = examples(0, 7)
    (losses, aux), moments = scan(with_aux, PARAMS, batch, jnp.ones(7), chunk, has_aux=True)
    want_losses, want = scan(loss, PARAMS, batch, jnp.ones(7), chunk)
    chex.assert_trees_all_close((losses, moments), (want_losses, want), rtol=1e-5)
    chex.assert_trees_all_close(aux, {"example": batch, "twice": 2 * losses}, rtol=1e-6)
