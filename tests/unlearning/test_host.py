import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from feasible_jax.unlearning.host import from_host, is_key, to_host


@pytest.mark.parametrize(
    "leaf",
    [
        jnp.arange(3.0),
        jnp.ones((2, 2), jnp.bfloat16),
        jnp.int32(7),
        jnp.zeros((0, 2)),
        jax.random.key(3),
        jax.random.split(jax.random.key(3, impl="rbg"), 2),
    ],
    ids=str,
)
def test_what_went_to_the_host_comes_back(leaf):
    on_host = to_host({"leaf": leaf})["leaf"]
    assert type(on_host) is np.ndarray
    back = from_host(on_host, leaf)
    assert (back.dtype, back.shape) == (leaf.dtype, leaf.shape)
    if is_key(leaf):
        leaf, back = jax.random.key_data(leaf), jax.random.key_data(back)
    assert np.asarray(back).tobytes() == np.asarray(leaf).tobytes()


def test_it_lies_where_it_is_asked_to():
    mesh = jax.make_mesh((8,), ("x",))
    for sharding in (NamedSharding(mesh, PartitionSpec("x")), jax.devices()[3]):
        like = jax.device_put(jnp.zeros(8), sharding)
        back = from_host(to_host(jnp.arange(8.0)), like)
        assert back.sharding == like.sharding
        np.testing.assert_array_equal(back, np.arange(8))
    free = from_host(to_host(jnp.arange(8.0)), jnp.zeros(8))
    assert not free.committed, "it may follow what it is computed with"
