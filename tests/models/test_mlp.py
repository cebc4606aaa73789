import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.models.mlp import MLP


def test_logits_are_the_ones_of_numpy():
    inputs = np.random.default_rng().normal(size=(5, 4, 3, 2)).astype(np.float32)
    network = MLP(num_classes=6, hidden_sizes=(7, 8))
    params = network.init(jax.random.key(0), inputs)["params"]
    x = inputs.reshape(5, -1)
    host = jax.tree.map(np.asarray, params)
    for layer in ("dense_1", "dense_2"):
        x = np.maximum(x @ host[layer]["kernel"] + host[layer]["bias"], 0)
    expected = x @ host["head"]["kernel"] + host["head"]["bias"]
    logits = network.apply({"params": params}, inputs)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [(), (3,), (5, 4, 3)])
def test_hidden_sizes(sizes):
    network = MLP(num_classes=2, hidden_sizes=sizes)
    params = network.init(jax.random.key(0), jnp.zeros((1, 2, 2, 1)))["params"]
    widths = [params[name]["kernel"].shape[1] for name in sorted(params)]
    assert widths == [*sizes, 2]
