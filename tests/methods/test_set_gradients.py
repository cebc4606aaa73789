import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.methods import set_gradients as module
from feasible_jax.methods.set_gradients import fisher_product, set_gradients


def stack(by_hand, params, examples):
    """Per-example gradients in float64, ``(N, P)``."""
    return np.array(
        [
            np.concatenate([np.ravel(g[name]) for name in params])
            for g in (by_hand(params, example) for example in zip(*examples, strict=True))
        ]
    )


def flat(tree, params):
    return np.concatenate([np.ravel(np.asarray(tree[name], np.float64)) for name in params])


# 20 examples: a whole chunk, even ones, a ragged end, a single one at the end, and one each.
@pytest.fixture(params=[128, 10, 8, 19, 1])
def chunk(request, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", request.param)
    return request.param


def test_the_mean_and_the_squares_are_those_of_all_examples(chunk, loss, params, sets, by_hand):
    seen = set_gradients(loss, params, sets["retain"])
    expected = stack(by_hand, params, sets["retain"])
    assert seen.count == 20
    np.testing.assert_allclose(flat(seen.mean, params), expected.mean(0), atol=1e-6)
    np.testing.assert_allclose(flat(seen.squares, params), (expected**2).mean(0), atol=1e-6)


def test_squares_are_of_examples_not_of_batches():
    """Two examples that cancel have no mean gradient, and all the more Fisher information."""
    seen = set_gradients(lambda w, x: w * x, jnp.array(1.0), jnp.array([3.0, -3.0]))
    assert (float(seen.mean), float(seen.squares)) == (0, 9)


def test_products_with_the_fisher_matrix(chunk, loss, params, sets, by_hand):
    gradients = stack(by_hand, params, sets["retain"])
    vector = {"w": jnp.linspace(-1, 1, 12).reshape(4, 3), "b": jnp.arange(3.0)}
    product = fisher_product(loss, params, sets["retain"], vector)
    expected = gradients.T @ (gradients @ flat(vector, params)) / 20
    np.testing.assert_allclose(flat(product, params), expected, atol=2e-6)


def test_low_precision_is_summed_in_float32(loss, params, sets):
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    seen = set_gradients(loss, low, sets["forget"])
    product = fisher_product(loss, low, sets["forget"], seen.mean)
    for tree in (seen.mean, seen.squares, product):
        assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {jnp.dtype(jnp.float32)}
