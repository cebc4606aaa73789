import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.methods.directions import add_scaled, direction_of


@pytest.mark.parametrize("scale", [1e-35, 1e-20, 1.0, 1e19, 1e30])
def test_no_square_leaves_the_range_of_float32(scale):
    values = np.array([3.0, -4.0, 12.0])
    tree = {"w": jnp.asarray(values[:2] * scale, jnp.float32), "b": jnp.float32(12 * scale)}
    unit, norm = direction_of(tree)
    np.testing.assert_allclose([*unit["w"], unit["b"]], values / 13, rtol=1e-5)
    np.testing.assert_allclose(norm, 13 * scale, rtol=1e-5)


def test_zero_has_no_direction():
    unit, norm = direction_of({"w": jnp.zeros(3, jnp.bfloat16)})
    assert (norm, unit["w"].tolist()) == (0, [0, 0, 0])


def test_low_precision_is_left_for_float32():
    unit, norm = direction_of({"w": jnp.full(4096, 3.0, jnp.bfloat16), "b": jnp.zeros(1)})
    assert norm.dtype == unit["w"].dtype == unit["b"].dtype == jnp.float32
    np.testing.assert_allclose(norm, 3 * 64)


def test_trees_are_added():
    assert add_scaled((jnp.ones(1),), -2, (jnp.full(1, 3.0),))[0].tolist() == [-5]
