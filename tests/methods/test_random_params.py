import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.methods.random_params import redrawn

PARAMS = {
    "kernel": jnp.asarray(np.random.default_rng(0).exponential(2.0, (50, 40)), jnp.float32),
    "twin": jnp.asarray(np.random.default_rng(0).exponential(2.0, (50, 40)), jnp.float32),
    "half": 3 + (jnp.arange(400) % 2).astype(jnp.bfloat16),
    "scale": jnp.ones(5),
    "count": jnp.array(3),
}


def test_each_leaf_keeps_its_mean_and_its_deviation_and_nothing_else(binomial):
    drawn = redrawn(PARAMS, jax.random.key(0))
    kernel = np.asarray(drawn["kernel"])
    mean, deviation = np.mean(PARAMS["kernel"]), np.std(PARAMS["kernel"])
    binomial(kernel > mean, 0.5)  # of the exponential entries themselves, 37%
    binomial(kernel < mean - deviation, 0.1587)
    assert not np.intersect1d(kernel, np.asarray(PARAMS["kernel"])).size
    assert drawn["scale"].tolist() == [1.0] * 5
    assert int(drawn["count"]) == 3


def test_shapes_and_dtypes_stay():
    drawn = redrawn(PARAMS, jax.random.key(0))
    like = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), PARAMS)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), drawn) == like


def test_leaves_and_keys_differ():
    one, other = (redrawn(PARAMS, jax.random.key(key)) for key in (0, 1))
    assert (one["kernel"] != one["twin"]).all()
    assert (one["kernel"] != other["kernel"]).all()
