import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.models import build_model, cross_entropy
from feasible_jax.unlearning.task import Examples


@pytest.fixture
def model():
    return build_model("mlp", (4, 4, 1), 5, hidden_sizes=(6,))


def test_it_is_minus_the_log_of_the_softmax(model):
    rng = np.random.default_rng()
    inputs = rng.normal(size=(7, 4, 4, 1)).astype(np.float32) * 10
    labels = rng.integers(0, 5, 7)
    params = model.init(jax.random.key(0))
    logits = np.asarray(model.apply(params, inputs), np.float64)
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(7), labels]
    losses = jax.vmap(cross_entropy(model), (None, 0))(params, Examples(inputs, labels))
    assert losses.shape == (7,)
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)
    one = cross_entropy(model)(params, Examples(inputs[3], labels[3]))
    assert one.shape == ()
    np.testing.assert_allclose(one, expected[3], rtol=1e-4, atol=1e-5)


def test_half_precision_parameters_have_a_float32_loss(model):
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), model.init(jax.random.key(0)))
    example = Examples(jnp.ones((4, 4, 1), jnp.bfloat16), 2)
    assert cross_entropy(model)(params, example).dtype == jnp.float32


def test_huge_logits_stay_finite(model):
    params = jax.tree.map(lambda x: 1e4 * x, model.init(jax.random.key(0)))
    example = Examples(jnp.ones((4, 4, 1)), 2)
    loss, grads = jax.value_and_grad(cross_entropy(model))(params, example)
    assert jnp.isfinite(loss)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_the_same_model_gives_the_same_function(model):
    assert cross_entropy(model) is cross_entropy(build_model("mlp", (4, 4, 1), 5, hidden_sizes=[6]))
    assert cross_entropy(model) is not cross_entropy(build_model("mlp", (4, 4, 1), 5))
