import chex
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import HealthCheck, given, settings
from jax.sharding import PartitionSpec as P

from feasible_jax.moments import (
    grad_moments,
    moments_from_per_example,
    per_example_gradients,
    reduce_moments,
)
from feasible_jax.moments.grouped import grouped_moments

fresh = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 2**32 - 1)
TINY = float(np.finfo(np.float32).tiny)


def loss(params, example):
    return jnp.square(jnp.vdot(params["w"], example) + params["b"])


def linear(w, example):
    """Its gradient is the example itself."""
    return jnp.vdot(w, example)


PARAMS = {"w": jnp.array([0.3, -1.0]), "b": jnp.float32(0.1)}
take = jax.jit(grouped_moments, static_argnums=(0, 4), static_argnames=("third", "has_aux"))
gradients = jax.jit(per_example_gradients, static_argnums=0, static_argnames="has_aux")
moments_of = jax.jit(moments_from_per_example, static_argnames="third")


def examples(seed, size, scale=1.0, offset=0.0):
    z = np.random.default_rng(seed).exponential(size=(size, 2))
    return jnp.asarray(scale * (offset + z), jnp.float32)


def oracle(grads, weights, groups):
    """The documented formulas in float64, one group after the other."""
    grads, weights = np.float64(grads), np.float64(weights)
    dealt = [np.arange(g, len(grads), groups) for g in range(groups)]
    dealt = [n for n in dealt if weights[n].sum() > 0]
    means = np.stack([np.average(grads[n], axis=0, weights=weights[n]) for n in dealt])
    count = len(dealt)
    r = np.array([weights[n].sum() for n in dealt])
    r = (count * r / r.sum())[:, None]
    mean = np.average(grads, axis=0, weights=weights)
    variance = np.sum(r * (means - mean) ** 2, axis=0) / (count - 1)
    factor = count - 3 + 2 * np.sum(r**2) / count**2
    third = np.sum(r**2 * (means - mean) ** 3, axis=0) / factor
    return mean, variance, count, third


def assert_oracle(moments, want, rtol=1e-4):
    mean, variance, count, third = want
    spread = np.sqrt(variance)
    assert moments.count == count
    assert np.all(np.abs(moments.mean - mean) <= rtol * spread)
    np.testing.assert_allclose(moments.variance, variance, rtol=rtol)
    assert np.all(np.abs(moments.third - third) <= 10 * rtol * spread**3)


@fresh
@given(
    seed=seeds,
    size_and_groups=st.sampled_from([(5, 3), (12, 4), (13, 5), (7, 7), (33, 4)]),
    kind=st.sampled_from(["unit", "padded", "repeated"]),
    scale=st.sampled_from([1e-9, 1.0, 1e9]),
)
def test_equals_the_float64_oracle(seed, size_and_groups, kind, scale):
    size, groups = size_and_groups
    grads = examples(seed, size, scale)
    weights = np.random.default_rng(seed).integers(
        0, {"padded": 2, "repeated": 4}.get(kind, 2), size
    )
    weights = np.ones(size, int) if kind == "unit" else np.maximum(weights, np.arange(size) < 3)
    _, moments = take(linear, jnp.ones(2), grads, jnp.asarray(weights), groups, third=True)
    assert_oracle(moments, oracle(grads, weights, groups))


@fresh
@given(seed=seeds)
def test_one_example_a_group_is_the_exact_form(seed):
    grads = examples(seed, 9)
    _, moments = take(linear, jnp.ones(2), grads, None, 9, third=True)
    want = moments_of(grads, third=True)
    chex.assert_trees_all_close(moments, want, rtol=1e-3, atol=1e-4)


def test_equal_groups_are_the_moments_of_their_means():
    grads = examples(0, 24)
    means = grads.reshape((4, 6, 2)).mean(0)
    _, moments = take(linear, jnp.ones(2), grads, None, 6, third=True)
    want = moments_of(means, third=True)
    chex.assert_trees_all_close(moments, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weights", [None, [1, 2, 0, 1, 1, 3, 0]])
def test_the_mean_and_the_losses_are_those_of_the_batch(weights):
    batch = examples(0, 7)
    losses, moments = take(loss, PARAMS, batch, weights, 3)
    want_losses, grads = gradients(loss, PARAMS, batch)
    want = moments_of(grads, weights)
    chex.assert_trees_all_close(moments.mean, want.mean, rtol=1e-5)
    real = np.array([True] * 7) if weights is None else np.array(weights) > 0
    np.testing.assert_allclose(losses[real], want_losses[real], rtol=1e-5)
    np.testing.assert_allclose(losses[~real], np.repeat(want_losses[:1], (~real).sum()), rtol=1e-5)
    assert moments.third is None


@pytest.mark.parametrize("scale_of_weights", [1e-6, 1.0, 1e6])
def test_only_the_proportions_of_the_weights_matter(scale_of_weights):
    grads, weights = examples(0, 7), jnp.array([1.0, 2, 0, 1, 1, 3, 0])
    _, moments = take(linear, jnp.ones(2), grads, scale_of_weights * weights, 3, third=True)
    assert_oracle(moments, oracle(grads, weights, 3))


TRIALS = 20_000


@jax.jit
def trials(grads, weights):
    """One independent batch a coordinate: ``(B, TRIALS)`` gradients."""
    return grouped_moments(linear, jnp.zeros(TRIALS), grads, weights, 5, third=True)[1]


@pytest.mark.parametrize(
    "weights",
    [np.ones(20), np.ones(23), np.where(np.arange(23) % 5 < 2, np.arange(23) < 9, 1)],
    ids=["equal", "one more", "very unequal"],
)
def test_the_moments_of_the_mean_are_unbiased(weights):
    """Of exponential variables, whose central moments are 1 and 2: 1 / W and 2 / W^2."""
    grads = np.random.default_rng(0).exponential(size=(len(weights), TRIALS))
    moments = trials(jnp.asarray(grads, jnp.float32), jnp.asarray(weights, jnp.float32))
    whole = np.sum(weights)
    for got, want in (
        (np.float64(moments.variance) / 5, 1 / whole),
        (np.float64(moments.third) / 25, 2 / whole**2),
    ):
        assert abs(got.mean() - want) < 4 * got.std() / np.sqrt(TRIALS)


@pytest.mark.parametrize("padding", [0, 9])
@pytest.mark.parametrize("level", [0.9, 0.99])
def test_students_t_with_a_degree_less_than_groups_has_its_size(padding, level):
    grads = np.random.default_rng(1).normal(size=(23, TRIALS))
    weights = np.where(np.arange(23) < padding, np.arange(23) % 5 > 1, 1)
    moments = trials(jnp.asarray(grads, jnp.float32), jnp.asarray(weights, jnp.float32))
    t = moments.mean / np.sqrt(np.asarray(moments.variance) / 5)
    rejected = np.sum(t > scipy.stats.t.ppf(level, 4))
    assert scipy.stats.binomtest(int(rejected), TRIALS, 1 - level).pvalue > 1e-3
    # With the normal quantile it has not, so this test can fail.
    rejected = np.sum(t > scipy.stats.norm.ppf(level))
    assert scipy.stats.binomtest(int(rejected), TRIALS, 1 - level).pvalue < 1e-6


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("padded", [[0], [3, 6], [0, 1, 2, 4, 5]])
def test_padding_may_hold_anything(poison, padded):
    batch, weights = examples(0, 7), jnp.ones(7).at[jnp.array(padded)].set(0)
    poisoned = batch.at[jnp.array(padded)].set(poison)
    out = take(loss, PARAMS, poisoned, weights, 3, third=True)
    chex.assert_trees_all_close(
        out[1], take(loss, PARAMS, batch, weights, 3, third=True)[1], rtol=1e-6
    )
    assert np.all(np.isfinite(out[0]))


def test_an_empty_group_is_no_observation():
    grads = examples(0, 12)
    weights = np.where(np.arange(12) % 4 == 1, 0, 1)
    _, moments = take(linear, jnp.ones(2), grads, weights, 4, third=True)
    rest = jnp.asarray(np.asarray(grads)[weights > 0])
    _, want = take(linear, jnp.ones(2), rest, None, 3, third=True)
    assert moments.count == 3
    chex.assert_trees_all_close(moments, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weights", [[0, 0, 0, 0], [0, 1, 0, 0], [0, 2, 0, 1]])
def test_fewer_than_two_groups_tell_nothing_of_noise(weights):
    grads = jnp.where(jnp.array(weights)[:, None] > 0, examples(0, 4), jnp.nan)
    _, moments = take(linear, jnp.ones(2), grads, weights, 2, third=True)
    assert float(moments.count) == (max(weights) > 0)
    assert np.all(np.isposinf(moments.variance))
    assert np.all(np.isnan(moments.third))
    assert np.all(np.isfinite(moments.mean))


def test_two_groups_have_no_third():
    assert np.all(np.isnan(take(linear, jnp.ones(2), examples(0, 6), None, 2, third=True)[1].third))


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_equal_gradients_have_no_variance(value):
    _, moments = take(linear, jnp.ones(2), jnp.full((12, 2), value), None, 4, third=True)
    for part, want in zip(moments, (value, 0, 4, 0), strict=True):
        np.testing.assert_array_equal(part, np.full(np.shape(part), want))


def test_squares_that_underflow_are_no_certainty():
    grads = jnp.where(jnp.arange(12) % 2, 2e-20, 1e-20)[:, None] * jnp.ones((1, 2))
    _, moments = take(linear, jnp.ones(2), grads, None, 4)
    assert np.all((moments.variance >= TINY) & (moments.variance <= 1e4 * TINY))


def test_huge_gradients_do_not_overflow_the_mean_nor_hide_their_noise():
    same = take(linear, jnp.ones(2), jnp.full((8, 2), 1e38), None, 4)[1]
    np.testing.assert_allclose(same.mean, 1e38, rtol=1e-5)
    differ = take(linear, jnp.ones(2), examples(0, 8, 1e25), None, 4)[1]
    assert np.all(np.isposinf(differ.variance))


def test_nothing_cancels_where_the_mean_is_large():
    grads = examples(0, 256, offset=1e4)
    _, moments = take(linear, jnp.ones(2), grads, None, 64, third=True)
    want = oracle(grads, np.ones(256), 64)
    np.testing.assert_allclose(moments.variance, want[1], rtol=5e-2)
    with jax.enable_x64(True):
        grads = np.float64(grads)
        _, moments = take(linear, jnp.ones(2), grads, None, 64, third=True)
        assert_oracle(moments, want, rtol=1e-8)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 4, 6])
def test_evidence_that_is_not_finite_is_seen_and_stays_in_its_coordinate(bad, place):
    grads = jnp.array(examples(0, 7)).at[place, 1].set(bad)
    weights = jnp.ones(7).at[3].set(0)
    moments = moments_of_columns(grads, weights)
    assert np.isfinite(moments.variance).tolist() == [True, False]
    assert np.isfinite(moments.third).tolist() == [True, False]


def moments_of_columns(grads, weights):
    return take(linear, jnp.ones(2), grads, weights, 4, third=True)[1]


def test_dtypes_each_keep_their_own_width():
    def mixed(params, x):
        return sum(jnp.sum(leaf.astype(x.dtype)) for leaf in params.values()) * x

    params = {"b": jnp.ones(2, jnp.bfloat16), "f": jnp.ones(2), "h": jnp.ones(2, jnp.float16)}
    _, moments = take(mixed, params, jnp.arange(6.0), None, 3, third=True)
    chex.assert_type(jax.tree.leaves(moments), jnp.float32)
    np.testing.assert_allclose(moments.variance["b"], 1.0, rtol=0.02)
    losses, _ = take(mixed, params, jnp.arange(6, dtype=jnp.bfloat16), [1, 1, 0, 1, 1, 1], 3)
    assert losses.dtype == jnp.bfloat16
    with jax.enable_x64(True):
        params = {"b": jnp.ones(2, jnp.bfloat16), "d": jnp.ones(2, jnp.float64)}
        _, moments = take(mixed, params, jnp.arange(6.0), None, 3, third=True)
        assert moments.variance["b"].dtype == jnp.float32
        assert moments.third["d"].dtype == moments.count.dtype == jnp.float64
        np.testing.assert_allclose(moments.variance["d"], 1.0, rtol=1e-12)


def test_aux_and_random_keys_travel_with_the_examples():
    def noisy(w, example):
        key, x = example
        value = w * jax.random.normal(key) * x
        return value, {"x": x, "key": key}

    keys = jax.random.split(jax.random.key(0), 7)
    batch = keys, jnp.arange(7.0)
    (losses, aux), moments = take(noisy, jnp.float32(1), batch, None, 3, has_aux=True)
    (want, _), grads = gradients(noisy, jnp.float32(1), batch, has_aux=True)
    np.testing.assert_allclose(losses, want, rtol=1e-5)
    np.testing.assert_allclose(moments.mean, np.mean(grads), rtol=1e-5)
    np.testing.assert_array_equal(aux["x"], batch[1])
    np.testing.assert_array_equal(jax.random.key_data(aux["key"]), jax.random.key_data(keys))


@pytest.mark.parametrize("weighted", [False, True])
def test_inside_shard_map_with_replicated_parameters(weighted):
    """Four examples a shard, two groups each: eight shards are sixteen groups."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    batch = examples(0, 32)
    weights = jnp.ones(32) if not weighted else jnp.ones(32).at[:4].set(0)

    def shard(params, batch, weights):
        weights = weights if weighted else None
        _, moments = grouped_moments(loss, params, batch, weights, 2, third=True)
        return reduce_moments(moments, "data")

    program = jax.shard_map(shard, mesh=mesh, in_specs=(P(), P("data"), P("data")), out_specs=P())
    moments = jax.jit(program)(PARAMS, batch, weights)
    exact = jax.jit(grad_moments(loss))(PARAMS, batch, weights)
    chex.assert_trees_all_close(moments.mean, exact.mean, rtol=1e-4)
    _, grads = gradients(loss, PARAMS, batch[4 * weighted :])
    pairs = jax.tree.map(
        lambda g: g.reshape((-1, 2, 2, *g.shape[1:])).mean(1).reshape((-1, *g.shape[1:])), grads
    )
    want = moments_of(pairs, third=True)
    chex.assert_trees_all_close(moments, want, rtol=1e-3, atol=1e-3)


def test_jit_over_a_sharded_batch():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    batch = examples(0, 16)
    sharded = jax.device_put(batch, jax.sharding.NamedSharding(mesh, P("data")))
    chex.assert_trees_all_close(
        take(loss, PARAMS, sharded, None, 4), take(loss, PARAMS, batch, None, 4), rtol=1e-4
    )


def test_memory_holds_a_few_parameters_whatever_the_batch_and_the_groups():
    """256 gradients of 100,000 coordinates are 100 MiB, those of 64 groups 25."""
    compiled = take.lower(
        lambda w, x: jnp.vdot(w, jnp.sin(w)) * x[0],
        jnp.ones(100_000), jnp.ones((256, 1)), jnp.ones(256), 64, third=True,
    ).compile()  # fmt: skip
    assert compiled.memory_analysis().temp_size_in_bytes < 12 * 2**20


@pytest.mark.parametrize("groups", [-1, 0, 1, 8])
def test_the_number_of_groups_must_lie_between_two_and_the_batch(groups):
    with pytest.raises(ValueError, match=rf"groups={groups}, the batch has 7 examples.*at least 2"):
        grouped_moments(loss, PARAMS, examples(0, 7), None, groups)


def test_a_batch_or_weights_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"weights has shape \(2,\).*give \(7,\)"):
        grouped_moments(loss, PARAMS, examples(0, 7), jnp.ones(2), 2)
    with pytest.raises(ValueError, match="batch is empty"):
        grouped_moments(loss, PARAMS, examples(0, 0), None, 2)
