import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.methods.whole_set import summed_gradient


@pytest.mark.parametrize("batch_size", [4, 100])
def test_every_example_counts_once_whatever_the_batches(batch_size, loss, params, sets, by_hand):
    forget = jax.tree.map(jnp.asarray, sets["forget"])
    summed = summed_gradient(loss, params, forget, batch_size)
    grads = [by_hand(params, example) for example in zip(*sets["forget"], strict=True)]
    for name in params:
        np.testing.assert_allclose(summed[name], sum(grad[name] for grad in grads), atol=5e-6)


def test_low_precision_gradients_are_summed_in_float32():
    """In bfloat16 a sum of ones stops at 256."""
    w, ones = jnp.zeros((), jnp.bfloat16), jnp.ones(600, jnp.bfloat16)
    summed = summed_gradient(lambda w, x: w * x, w, ones, batch_size=1)
    assert summed.dtype == jnp.float32
    assert float(summed) == 600
