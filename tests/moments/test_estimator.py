import chex
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from jax.sharding import PartitionSpec as P

from feasible_jax.moments import GradientMoments, grad_moments, reduce_moments

STRATEGIES = ("vmap", "microbatch", "structured")  # and "auto", which is the last
fresh = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def loss(params, example):
    """A tiny network with a bfloat16 layer, a float32 layer and a scalar."""
    hidden = jnp.tanh(params["in"].astype(jnp.float32) @ example["x"])
    return jnp.square(params["scale"] * jnp.vdot(params["out"], hidden) - example["y"])


def network(seed, narrow=jnp.bfloat16):
    rng = np.random.default_rng(seed)
    return {
        "in": jnp.asarray(rng.normal(size=(4, 3)), narrow),
        "out": jnp.asarray(rng.normal(size=4), jnp.float32),
        "scale": jnp.float32(rng.normal()),
    }


def data(seed, size):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=(size, 3)), jnp.float32)
    return {"x": x, "y": jnp.asarray(rng.normal(size=size), jnp.float32)}


ONE = jax.jit(jax.grad(loss))


def oracle(moments_oracle, params, batch, weights=None):
    """Gradients one example at a time, moments in float64."""
    size = batch["y"].shape[0]
    rows = [ONE(params, jax.tree.map(lambda leaf, n=n: leaf[n], batch)) for n in range(size)]
    stacks = jax.tree.map(lambda *leaves: np.stack([np.float64(x) for x in leaves]), *rows)
    mean = jax.tree.map(lambda s: moments_oracle(s, weights)[0], stacks)
    variance = jax.tree.map(lambda s: moments_oracle(s, weights)[1], stacks)
    return mean, variance


def assert_oracle(moments, want, rtol=1e-3):
    mean, variance = want
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol, 1e-5), moments.mean, mean)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol, 1e-6), moments.variance, variance
    )


TAKE = {s: jax.jit(grad_moments(loss, s, microbatch_size=3)) for s in STRATEGIES}


@pytest.mark.parametrize("size", [1, 2, 7])
@fresh
@given(seed=st.integers(0, 2**32 - 1), weighted=st.booleans())
def test_every_strategy_equals_the_slow_oracle(moments_oracle, size, seed, weighted):
    # All in float32: rounding per-example gradients to bfloat16 depends on how XLA fuses.
    params, batch = network(seed, jnp.float32), data(seed, size)
    weights = np.random.default_rng(seed).integers(0, 3, size) if weighted else np.ones(size, int)
    want = oracle(moments_oracle, params, batch, weights)
    for strategy in STRATEGIES:
        assert_oracle(TAKE[strategy](params, batch, weights), want)


def test_auto_is_structured():
    auto, structured = (
        jax.make_jaxpr(grad_moments(loss, s, microbatch_size=3, third=True))(network(0), data(0, 7))
        for s in ("auto", "structured")
    )
    assert str(auto) == str(structured)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_unequal_dtypes_accumulate_in_float32(moments_oracle, strategy):
    params, batch = network(0), data(0, 7)
    moments = TAKE[strategy](params, batch)
    chex.assert_trees_all_equal_shapes(moments.mean, params)
    chex.assert_type(jax.tree.leaves(moments), jnp.float32)
    assert_oracle(moments, oracle(moments_oracle, params, batch), rtol=0.03)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_float64_stays_float64(strategy):
    with jax.enable_x64(True):
        params = {"a": jnp.ones(2), "b": jnp.ones(2, jnp.bfloat16)}
        take = grad_moments(
            lambda p, x: jnp.sum(p["a"] * p["b"].astype(jnp.float64)) * x,
            strategy,
            microbatch_size=2,
        )
        moments = jax.jit(take)(params, jnp.arange(5.0))
        assert moments.mean["a"].dtype == moments.count.dtype == jnp.float64
        assert moments.mean["b"].dtype == jnp.float32
        np.testing.assert_allclose(moments.variance["a"], 2.5, rtol=1e-12)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_padding_may_be_nan(strategy):
    batch = data(0, 7)
    padded = jax.tree.map(lambda leaf: leaf.at[jnp.array([0, 6])].set(jnp.nan), batch)
    weights = jnp.ones(7).at[jnp.array([0, 6])].set(0)
    real = jax.tree.map(lambda leaf: leaf[1:6], batch)
    params = network(0, jnp.float32)
    chex.assert_trees_all_close(
        TAKE[strategy](params, padded, weights), TAKE["vmap"](params, real), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_losses_come_along(strategy):
    params, batch = network(0, jnp.float32), data(0, 7)
    take = grad_moments(loss, strategy, microbatch_size=3, return_losses=True)
    losses, moments = jax.jit(take)(params, batch)
    examples = [jax.tree.map(lambda leaf, n=n: leaf[n], batch) for n in range(7)]
    want = [jax.jit(loss)(params, example) for example in examples]
    np.testing.assert_allclose(losses, want, rtol=1e-5)
    assert isinstance(moments, GradientMoments)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_compilation_serves_every_batch(strategy):
    traces = []

    def counted(params, example):
        traces.append(1)
        return loss(params, example)

    take = jax.jit(grad_moments(counted, strategy, microbatch_size=3))
    take(network(0), data(0, 7), jnp.ones(7))
    first = len(traces)
    take(network(1), data(1, 7), jnp.zeros(7))
    assert len(traces) == first
    assert take._cache_size() == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("params", [1.5, np.float32(1.5), np.full(2, 1.5)])
def test_parameters_may_be_numbers_or_numpy(strategy, params):
    take = grad_moments(lambda w, x: jnp.sum(w * x), strategy)
    moments = jax.jit(lambda batch: take(params, batch))(jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(moments.mean, np.full(np.shape(params), 2.0))
    assert moments.mean.dtype == jnp.float32


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_inside_shard_map_with_replicated_parameters(strategy):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    params, batch = network(0, jnp.float32), data(0, 40)
    weights = jnp.ones(40).at[:7].set(0).at[21].set(0)
    take = grad_moments(loss, strategy, microbatch_size=2)

    def shard(params, batch, weights):
        return [reduce_moments(take(params, batch, w), "data") for w in (None, weights)]

    rows = P("data")
    program = jax.shard_map(shard, mesh=mesh, in_specs=(P(), rows, rows), out_specs=P())
    want = [TAKE["vmap"](params, batch, w) for w in (None, weights)]
    chex.assert_trees_all_close(
        jax.jit(program)(params, batch, weights), want, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_jit_over_a_sharded_batch(strategy):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    params, batch = network(0, jnp.float32), data(0, 16)
    take = jax.jit(grad_moments(loss, strategy, microbatch_size=8))
    sharded = jax.device_put(batch, jax.sharding.NamedSharding(mesh, P("data")))
    chex.assert_trees_all_close(take(params, sharded), take(params, batch), rtol=1e-4, atol=1e-6)


def test_a_microbatch_larger_than_the_batch_is_the_batch():
    params, batch = network(0, jnp.float32), data(0, 5)
    take = jax.jit(grad_moments(loss, "microbatch", microbatch_size=1000))
    chex.assert_trees_all_close(
        take(params, batch), TAKE["vmap"](params, batch), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("params", "batch", "weights", "words"),
    [
        ({}, jnp.ones(3), None, "params has no leaves"),
        (jnp.ones(2), jnp.ones((0, 2)), None, r"batch is empty.*\(0, 2\)"),
        (jnp.ones(2), jnp.ones((3, 2)), jnp.ones(2), r"weights has shape \(2,\).*give \(3,\)"),
        (jnp.ones(2), jnp.ones((3, 2, 1)), None, r"ONE example.*float32\[1\]"),
        (jnp.ones(2), {"a": jnp.ones(3), "b": jnp.ones(4)}, None, "leading axis"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_computed(strategy, params, batch, weights, words):
    def first(w, x):
        return w[0] * x[0]

    with pytest.raises(ValueError, match=words):
        grad_moments(first, strategy)(params, batch, weights)


def test_unknown_strategies_and_sizes_are_refused():
    with pytest.raises(ValueError, match=r"'magic'.*'vmap'"):
        grad_moments(loss, "magic")
    with pytest.raises(ValueError, match=r"microbatch_size=0.*at least 1"):
        grad_moments(loss, "microbatch", microbatch_size=0)


@pytest.mark.parametrize("strategy", [*STRATEGIES, "grouped"])
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.bool_, jnp.complex64])
def test_parameters_without_a_real_gradient_are_refused_by_name(strategy, dtype):
    params = {"w": jnp.ones(2), "bad": jnp.ones(2, dtype)}
    with pytest.raises(TypeError, match=r"params\['bad'\] has dtype " + np.dtype(dtype).name):
        grad_moments(lambda p, x: jnp.sum(p["w"]) * x, strategy)(params, jnp.ones(16))
