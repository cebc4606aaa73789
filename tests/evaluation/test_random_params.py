import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.evaluation import random_params

TREE = {
    "kernel": np.full((50, 40), 3.0, np.float32),
    "conv": np.ones((3, 3, 16, 8), np.float32),
    "bias": np.full(40, -0.2, np.float32),
    "scale": np.linspace(0.7, 1.4, 40, dtype=np.float32),
    "temperature": np.float32(1.3),
    "steps": np.int32(7),
    "half": jnp.full((6, 5), 2, jnp.bfloat16),
}


def test_shapes_and_dtypes_stay():
    drawn = random_params(TREE)
    assert jax.tree.structure(drawn) == jax.tree.structure(TREE)
    for name, leaf in TREE.items():
        assert drawn[name].shape == leaf.shape
        assert drawn[name].dtype == leaf.dtype
    assert drawn["steps"] == 7


def test_weights_are_normal_with_variance_one_over_fan_in():
    drawn = random_params(TREE)
    for name, fan_in in (("kernel", 50), ("conv", 3 * 3 * 16)):
        values = drawn[name].astype(float).ravel() * np.sqrt(fan_in)
        assert abs(values.mean()) < 4.5 / np.sqrt(values.size)
        assert values.var() == pytest.approx(1, abs=4.5 * np.sqrt(2 / values.size))


def test_a_bias_is_zero_and_a_scale_is_one():
    drawn = random_params(TREE)
    np.testing.assert_array_equal(drawn["bias"], np.zeros(40))
    np.testing.assert_array_equal(drawn["scale"], np.ones(40))
    assert drawn["temperature"] == 1


def test_the_seed_decides_and_the_values_do_not():
    one, again, other = (random_params(TREE, seed)["kernel"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    doubled = jax.tree.map(lambda leaf: leaf * 2, TREE)
    np.testing.assert_array_equal(random_params(doubled)["kernel"], one)


def test_two_leaves_of_one_shape_are_drawn_apart():
    drawn = random_params({"a": np.ones((4, 4)), "b": np.ones((4, 4))})
    assert not np.array_equal(drawn["a"], drawn["b"])
