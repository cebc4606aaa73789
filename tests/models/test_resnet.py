import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.models.resnet import BasicBlock, ResNet18


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_it_is_the_resnet_18_of_the_literature():
    shapes = jax.eval_shape(
        ResNet18(num_classes=10).init, jax.random.key(0), jnp.zeros((1, 32, 32, 3))
    )
    # The published CIFAR variant has 11,173,962 parameters, its normalisation as many as ours.
    assert count(shapes["params"]) == 11_173_962
    assert set(shapes) == {"params"}


def test_gradients_of_examples_add_up_to_the_gradient_of_the_batch():
    images = np.random.default_rng().normal(size=(4, 5, 5, 3)).astype(np.float32)
    block = BasicBlock(features=32, stride=2)
    params = jax.jit(block.init)(jax.random.key(0), images)

    def objective(params, images):
        return jnp.sum(block.apply(params, images) ** 2)

    whole = jax.jit(jax.grad(objective))(params, images)
    each = jax.jit(jax.vmap(jax.grad(objective), (None, 0)))(params, images[:, None])
    for one, many in zip(jax.tree.leaves(whole), jax.tree.leaves(each), strict=True):
        np.testing.assert_allclose(many.sum(0), one, rtol=1e-3, atol=1e-3)


def test_a_block_is_a_sum_with_its_shortcut():
    images = np.random.default_rng().normal(size=(2, 6, 6, 16)).astype(np.float32)
    block = BasicBlock(features=16)
    params = block.init(jax.random.key(0), images)["params"]
    assert set(params) == {"conv_1", "norm_1", "conv_2", "norm_2"}
    params = {**params, "norm_2": jax.tree.map(jnp.zeros_like, params["norm_2"])}
    out = block.apply({"params": params}, images)
    np.testing.assert_allclose(out, np.maximum(images, 0), atol=1e-6)


@pytest.mark.parametrize("features", [1, 7, 16, 24, 64])
def test_groups_divide_any_width(features):
    block = BasicBlock(features=features, stride=2)
    out, _ = jax.eval_shape(block.init_with_output, jax.random.key(0), jnp.zeros((1, 5, 5, 3)))
    assert out.shape == (1, 3, 3, features)
