import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.models.cnn import CNN, patches_3x3


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(28, 28), (7, 9), (8, 5), (1, 2)])
def test_a_product_with_patches_is_a_convolution(stride, size):
    rng = np.random.default_rng()
    images = rng.normal(size=(2, *size, 3)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 3, 4)).astype(np.float32)
    expected = jax.lax.conv_general_dilated(
        images, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    actual = patches_3x3(jnp.asarray(images), stride) @ kernel.reshape(-1, 4)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_logits_are_the_ones_of_a_convolutional_network():
    images = np.random.default_rng().normal(size=(3, 28, 28, 1)).astype(np.float32)
    network = CNN(num_classes=10)
    params = network.init(jax.random.key(0), images)["params"]
    x = images
    for layer in ("conv_1", "conv_2", "conv_3"):
        kernel = params[layer]["kernel"].reshape(3, 3, x.shape[-1], -1)
        x = jax.lax.conv_general_dilated(
            x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = np.maximum(np.asarray(x) + np.asarray(params[layer]["bias"]), 0)
    assert x.shape == (3, 4, 4, 64)
    head = jax.tree.map(np.asarray, params["head"])
    expected = x.mean((1, 2)) @ head["kernel"] + head["bias"]
    logits = network.apply({"params": params}, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 8, 64])
def test_one_set_of_parameters_serves_every_image_size(size):
    network = CNN(num_classes=10)
    params = network.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))["params"]
    logits = network.apply({"params": params}, jnp.ones((2, size, size, 1)))
    assert logits.shape == (2, 10)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 23_946


def test_widths():
    network = CNN(num_classes=3, widths=(4, 5))
    params = network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 2)))["params"]
    shapes = {name: leaf["kernel"].shape for name, leaf in params.items()}
    assert shapes == {"conv_1": (18, 4), "conv_2": (36, 5), "head": (5, 3)}
