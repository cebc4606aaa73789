import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from feasible_jax.moments.per_example import per_example_gradients
from feasible_jax.moments.shards import (
    Spread,
    automatic,
    by_shard,
    everywhere,
    explicit_sharding,
    laid_out_like,
    spread_of,
)


def grid(kind=AxisType.Explicit):
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind,) * 2)


def put(x, *spec, kind=AxisType.Explicit):
    return jax.device_put(x, NamedSharding(grid(kind), P(*spec)))


class TestWhereABatchLies:
    def test_the_type_says_it_on_an_explicit_mesh(self):
        batch = {"x": put(np.ones((8, 2)), "data"), "y": put(np.ones(8), "data")}
        found = []
        jax.jit(lambda batch: found.append(spread_of(batch)))(batch)
        assert found[0].axes == ("data",)
        assert found[0].shards == 4
        assert spread_of(put(np.ones(8), ("model", "data"))).axes == ("model", "data")
        assert spread_of(put(np.ones((8, 2)), None, "model")) is None

    def test_on_an_automatic_mesh_somebody_has_to_say_it(self):
        batch = put(np.ones(8), "data", kind=AxisType.Auto)
        assert spread_of(batch) is None
        assert spread_of(batch, batch.sharding).axes == ("data",)
        assert spread_of(batch, NamedSharding(grid(), P())) is None

    def test_one_shard_is_none(self):
        mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Explicit,))
        assert spread_of(jax.device_put(np.ones(8), NamedSharding(mesh, P("data")))) is None

    def test_leaves_that_lie_apart_are_refused(self):
        with pytest.raises(ValueError, match=r"different mesh axes.*'data'"):
            spread_of((put(np.ones(8), "data"), put(np.ones(8))))

    def test_a_batch_that_does_not_divide_is_refused(self):
        with pytest.raises(ValueError, match=r"6 examples.*4 shards.*\('data',\)"):
            spread_of(jnp.ones(6), NamedSharding(grid(), P("data")))


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_every_shard_sees_whole_parameters_and_its_own_examples(kind):
    mesh = grid(kind)
    spread = Spread(mesh, ("data",))
    w = put(np.arange(8.0, dtype=np.float32), ("data", "model"), kind=kind)
    x = put(np.arange(8.0, dtype=np.float32), "data", kind=kind)

    def fn(w, x, none):
        assert (w.shape, x.shape, none) == ((8,), (2,), None)
        first = jax.lax.axis_index("data") * 2
        return x * 10 + first.astype(jnp.float32), jax.lax.psum(x.sum(), "data") + w.sum()

    rows, total = jax.jit(by_shard(fn, spread, (True, False)))(w, x, None)
    np.testing.assert_array_equal(rows, np.arange(8) * 10 + np.repeat(np.arange(4) * 2, 2))
    assert total == 28 + 28
    assert rows.sharding.is_equivalent_to(x.sharding, 1)
    assert everywhere(rows, spread).sharding.is_fully_replicated


@pytest.mark.parametrize("jit", [jax.jit, lambda f: f])
def test_the_compiler_lays_out_what_types_cannot_say(jit):
    x, w = put(np.arange(16.0).reshape(8, 2), "data", "model"), put(np.ones(4), "data")
    program = automatic(lambda x, w: (jnp.sort(x.reshape(-1))[::3], w @ w, 2 * w), (0, 0, w))
    thinned, square, doubled = jit(program)(x, w)
    np.testing.assert_array_equal(thinned, np.arange(16.0)[::3])
    assert square == 4
    assert explicit_sharding(doubled).spec == P("data")
    assert thinned.sharding.is_fully_replicated


def test_without_an_explicit_mesh_nothing_is_done():
    for x in (jnp.ones(4), put(np.ones(4), "data", kind=AxisType.Auto), put(np.ones(4))):
        same = []
        automatic(lambda y, same=same: same.append(y), 0)(x)
        assert same[0] is x
    plain = jnp.ones(4)
    assert laid_out_like(plain, plain) is plain
    assert explicit_sharding("no array") is None


def test_per_example_gradients_of_what_shares_an_axis_with_the_batch():
    """A product over the axis of fully sharded parameters would be ambiguous in types."""
    w = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)
    x = np.linspace(0, 1, 32, dtype=np.float32).reshape(8, 4)
    loss = lambda w, x: jnp.sum(jnp.tanh(x @ w))  # noqa: E731
    want = jax.vmap(jax.grad(loss), (None, 0))(w, x)
    _, got = jax.jit(lambda w, x: per_example_gradients(loss, w, x))(
        put(w, "data", "model"), put(x, "data")
    )
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert got.sharding.spec == P("data", None, "model")
