import functools

import chex
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from jax.sharding import PartitionSpec as P

from feasible_jax.alignment import aligned
from feasible_jax.moments import (
    GradientMoments,
    merge_moments,
    moments_from_per_example,
    reduce_moments,
)


@functools.partial(jax.jit, static_argnames="third")
def moments_of(grads, weights=None, third=False):
    return moments_from_per_example(grads, weights, third=third)


merge, aligned_now = jax.jit(merge_moments), jax.jit(aligned)
fresh = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
seeds = st.integers(0, 2**32 - 1)
sizes = st.sampled_from([1, 2, 5])
scales = st.sampled_from([1e-30, 1e-12, 1.0, 1e8, 1e15])
EMPTY = GradientMoments(jnp.zeros(3), jnp.full(3, jnp.inf), jnp.float32(0))


def stack(seed, size, scale=1.0, offset=0.0):
    z = np.random.default_rng(seed).normal(size=(size, 3))
    return np.float32(scale * (offset + z))


def assert_same(a, b, scale=1.0):
    np.testing.assert_allclose(a.count, b.count)
    np.testing.assert_allclose(a.mean, b.mean, rtol=1e-5, atol=2e-6 * scale)
    np.testing.assert_allclose(a.variance, b.variance, rtol=2e-3)


@fresh
@given(seed=seeds, cut=st.sampled_from([0, 1, 2, 5, 7, 8]), scale=scales)
def test_merged_splits_are_the_whole(seed, cut, scale):
    grads = stack(seed, 8, scale)
    merged = merge(moments_of(grads[:cut]), moments_of(grads[cut:]))
    assert_same(merged, moments_of(grads), scale)


@fresh
@given(seed=seeds, sizes=st.tuples(sizes, sizes, sizes), scale=scales)
def test_merging_is_associative_and_commutative(seed, sizes, scale):
    a, b, c = (moments_of(stack(seed + i, n, scale, offset=i)) for i, n in enumerate(sizes))
    assert_same(merge(a, b), merge(b, a), scale)
    left = merge(merge(a, b), c)
    assert_same(left, merge(a, merge(b, c)), scale)


@pytest.mark.parametrize("size", [0, 1, 2, 5])
@pytest.mark.parametrize("scale", [1e-30, 1.0])
def test_an_empty_batch_changes_nothing(size, scale):
    moments = moments_of(stack(0, size, scale))
    chex.assert_trees_all_close(merge(moments, EMPTY), moments, rtol=1e-6)
    chex.assert_trees_all_close(merge(EMPTY, moments), moments, rtol=1e-6)


def test_an_empty_batch_may_hold_anything():
    moments = moments_of(stack(0, 5))
    rubbish = GradientMoments(jnp.full(3, jnp.nan), jnp.full(3, jnp.nan), jnp.float32(0))
    for merged in (merge(moments, rubbish), merge(rubbish, moments)):
        chex.assert_trees_all_close(merged, moments, rtol=1e-6)


def test_an_empty_batch_does_not_square_a_huge_mean():
    moments = moments_of(jnp.full((4, 3), 2.0**100), third=True)
    empty = EMPTY._replace(third=jnp.full(3, jnp.nan))
    for merged in (merge(moments, empty), merge(empty, moments)):
        chex.assert_trees_all_equal(merged, moments)


def test_batches_of_constants_that_differ_too_little_to_square_stay_uncertain():
    """The two means are known to differ, whatever becomes of their squared difference."""
    a = moments_of(jnp.full((4,), 2e-19))
    b = moments_of(jnp.full((4,), 1e-19))
    assert merge(a, b).variance > 2.8e-39


def test_nothing_cancels_where_the_mean_is_large(moments_oracle):
    grads = stack(0, 64, offset=1e4)
    merged = EMPTY
    for row in grads:
        merged = merge(merged, moments_of(row[None]))
    np.testing.assert_allclose(merged.variance, moments_oracle(grads)[1], rtol=3e-3)


def test_evidence_that_is_not_finite_survives_a_merge():
    bad = moments_of(jnp.array([[jnp.nan, 0.0, jnp.inf], [0.0, 1.0, 0.0]]))
    merged = merge(bad, moments_of(stack(0, 5)))
    assert np.isfinite(merged.variance).tolist() == [False, True, False]
    assert not aligned_now(-jnp.ones(3), *merged[:3], 1.0, -5.0)[jnp.array([0, 2])].any()


@pytest.mark.parametrize("count", [5, 5.0, np.float32(5), jnp.int32(5)])
def test_counts_may_be_numbers(count):
    moments = moments_of(stack(0, 5))
    merged = merge_moments(moments._replace(count=count), moments)
    assert_same(merged, merge(moments, moments))


def test_narrow_moments_merge_in_float32():
    moments = jax.tree.map(lambda x: x.astype(jnp.bfloat16), moments_of(stack(0, 5)))
    merged = merge(moments, moments_of(stack(1, 5)))
    chex.assert_type(jax.tree.leaves(merged), jnp.float32)


def test_trees_and_scalars_merge_under_jit():
    def of(seed):
        g = stack(seed, 4)
        return moments_of({"w": g, "b": g[:, 0]})

    merged = merge(of(0), of(1))
    whole = moments_of(jnp.concatenate([stack(0, 4), stack(1, 4)]))
    assert_same(GradientMoments(merged.mean["w"], merged.variance["w"], merged.count), whole)
    assert merged.mean["b"].shape == ()


@pytest.mark.parametrize("shape", [(1,), (), (2, 3)])
def test_shapes_that_differ_are_refused_by_name(shape):
    a = moments_of({"dense": {"w": jnp.ones((2, 3))}})
    b = moments_of({"dense": {"w": jnp.ones((2, *shape))}})
    with pytest.raises(ValueError, match=r"'dense/w'.*same parameters") as error:
        merge_moments(a, b)
    assert "(3,)" in str(error.value)
    assert str(shape) in str(error.value)


def test_trees_that_differ_are_refused():
    a = moments_of({"a": jnp.ones((2, 3))})
    b = moments_of({"b": jnp.ones((2, 3))})
    with pytest.raises(ValueError, match="a"):
        merge_moments(a, b)


def lopsided(seed, size, scale=1.0, offset=0.0):
    z = np.random.default_rng(seed).exponential(size=(size, 3))
    return np.float32(scale * (offset + z))


def with_third(grads, weights=None):
    return moments_of(grads, weights, third=True)


def assert_same_third(a, b):
    """Up to a ten thousandth of the cube of the standard deviation."""
    cube = np.float64(b.variance) ** 1.5
    np.testing.assert_array_equal(np.isnan(a.third), np.isnan(b.third))
    assert not np.any(np.abs(np.float64(a.third) - np.float64(b.third)) > 1e-4 * cube)


cubable = st.sampled_from([1e-9, 1e-3, 1.0, 1e8, 1e11])


@fresh
@given(seed=seeds, cut=st.integers(0, 8), scale=cubable)
def test_thirds_of_merged_splits_are_those_of_the_whole(seed, cut, scale):
    grads = lopsided(seed, 8, scale)
    merged = merge(with_third(grads[:cut]), with_third(grads[cut:]))
    assert_same_third(merged, with_third(grads))


def test_a_third_changes_nothing_else():
    a, b = (with_third(lopsided(seed, 5)) for seed in (0, 1))
    without = merge_moments(a._replace(third=None), b._replace(third=None))
    chex.assert_trees_all_equal(merge_moments(a, b)[:3], without[:3])


@fresh
@given(seed=seeds, sizes=st.tuples(sizes, sizes, sizes), scale=cubable)
def test_merging_thirds_is_associative_and_commutative(seed, sizes, scale):
    a, b, c = (with_third(lopsided(seed + i, n, scale, offset=i)) for i, n in enumerate(sizes))
    assert_same_third(merge(a, b), merge(b, a))
    left = merge(merge(a, b), c)
    assert_same_third(left, merge(a, merge(b, c)))


@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_an_empty_batch_changes_no_third(size):
    moments = with_third(lopsided(0, size))
    nan = jnp.full(3, jnp.nan)
    for empty in (EMPTY._replace(third=nan), GradientMoments(nan, nan, 0, nan)):
        for merged in (merge(moments, empty), merge(empty, moments)):
            chex.assert_trees_all_close(merged, moments, rtol=1e-6)


def test_one_by_one_thirds_add_up_where_the_mean_is_large(third_oracle):
    grads = lopsided(0, 64, offset=1e3)
    merged = with_third(grads[:0])
    for row in grads:
        merged = merge(merged, with_third(row[None]))
    np.testing.assert_allclose(merged.third, third_oracle(grads), rtol=1e-2)


def test_a_third_of_one_side_alone_is_refused():
    with_it, without = with_third(stack(0, 5)), moments_of(stack(0, 5))
    for pair, which in (((with_it, without), "second"), ((without, with_it), "first")):
        with pytest.raises(ValueError, match=f"{which} batch have no third.*third=True"):
            merge(*pair)


def test_thirds_of_narrow_and_of_wide_moments_merge():
    moments = jax.tree.map(lambda x: x.astype(jnp.bfloat16), with_third(stack(0, 5)))
    chex.assert_type(jax.tree.leaves(merge(moments, with_third(stack(1, 5)))), jnp.float32)
    with jax.enable_x64(True):
        wide = jnp.asarray(np.random.default_rng(0).exponential(size=(9, 3)))
        merged = merge(with_third(wide[:4]), with_third(wide[4:]))
        np.testing.assert_allclose(merged.third, with_third(wide).third, rtol=1e-10)


def test_a_third_that_is_not_finite_survives_a_merge():
    bad = with_third(jnp.asarray(lopsided(0, 4)).at[1, 2].set(jnp.nan))
    merged = merge(bad, with_third(lopsided(1, 5)))
    assert np.isfinite(merged.third).tolist() == [True, True, False]


def as_they_are(moments):
    return moments


@functools.partial(jax.jit, static_argnums=(2, 3))
def reduced(grads, weights, local=as_they_are, third=False):
    def shard(grads, weights):
        moments = moments_of(grads, weights, third=third)
        return reduce_moments(local(moments), "batch")

    spec = P("batch")
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    return jax.shard_map(shard, mesh=mesh, in_specs=(spec, spec), out_specs=P())(grads, weights)


@fresh
@given(seed=seeds, per_shard=st.sampled_from([1, 3]), scale=scales)
def test_eight_shards_are_the_whole_batch(seed, per_shard, scale):
    grads = stack(seed, 8 * per_shard, scale)
    whole = moments_of(grads)
    assert_same(reduced(grads, jnp.ones(8 * per_shard)), whole, scale)


def test_shards_without_observations_change_nothing():
    grads = stack(0, 32)
    weights = jnp.ones(32).at[:8].set(0).at[17:20].set(0)
    poisoned = jnp.where(weights[:, None] > 0, grads, jnp.nan)
    want = moments_of(grads[weights > 0])
    assert_same(reduced(poisoned, weights), want)

    def rubbish(m):
        empty = m.count == 0
        return m._replace(
            mean=jnp.where(empty, jnp.nan, m.mean), variance=jnp.where(empty, jnp.nan, m.variance)
        )

    assert_same(reduced(poisoned, weights, rubbish), want)


def test_a_mesh_without_observations_is_an_empty_batch():
    assert_same(reduced(stack(0, 8), jnp.zeros(8)), EMPTY)


def test_shards_that_differ_too_little_to_square_stay_uncertain():
    grads = jnp.asarray(np.where(np.arange(8) % 2, 2.2e-19, 0.2e-19)[:, None], jnp.float32)
    moments = reduced(grads, jnp.ones(8))
    assert moments.variance[0] > 1e-38
    assert not aligned_now(-jnp.ones(1), *moments[:3], 1.0, 4.0)[0]


def test_one_bad_shard_spoils_its_coordinate_alone():
    grads = jnp.asarray(stack(0, 16)).at[3, 1].set(jnp.nan)
    moments = reduced(grads, jnp.ones(16))
    assert np.isfinite(moments.variance).tolist() == [True, False, True]


def test_nothing_cancels_across_shards(moments_oracle):
    grads = stack(0, 64, offset=1e4)
    moments = reduced(grads, jnp.ones(64))
    np.testing.assert_allclose(moments.variance, moments_oracle(grads)[1], rtol=1e-3)


def test_unweighted_shards_and_two_axes():
    two = jax.make_mesh((4, 2), ("x", "y"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    grads = stack(0, 16)
    program = jax.shard_map(
        lambda g: reduce_moments(moments_of(g), ("x", "y")),
        mesh=two, in_specs=P(("x", "y")), out_specs=P(),
    )  # fmt: skip
    assert_same(jax.jit(program)(grads), moments_of(grads))


@fresh
@given(seed=seeds, per_shard=st.sampled_from([1, 2, 5]), scale=cubable)
def test_thirds_of_eight_shards_are_those_of_the_whole_batch(seed, per_shard, scale):
    grads, ones = lopsided(seed, 8 * per_shard, scale), jnp.ones(8 * per_shard)
    got = reduced(grads, ones, third=True)
    assert_same_third(got, with_third(grads))
    chex.assert_trees_all_close(got[:3], reduced(grads, ones)[:3], rtol=1e-6)


def test_shards_without_observations_change_no_third():
    grads = lopsided(0, 32)
    weights = jnp.ones(32).at[:8].set(0).at[17:20].set(0)
    poisoned = jnp.where(weights[:, None] > 0, grads, jnp.nan)
    assert_same_third(reduced(poisoned, weights, third=True), with_third(grads[weights > 0]))
    assert np.all(np.isnan(reduced(grads, jnp.zeros(32), third=True).third))
