import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import chisquare

from feasible_jax.unlearning.batches import draw_batch
from feasible_jax.unlearning.task import Examples


def test_inputs_and_labels_stay_together():
    examples = Examples(jnp.arange(7.0)[:, None] * jnp.ones((1, 3)), jnp.arange(7))
    batch = draw_batch(jax.random.key(0), examples, 40)
    assert isinstance(batch, Examples)
    assert batch.inputs.shape == (40, 3)
    np.testing.assert_array_equal(batch.inputs[:, 0], batch.labels)


def test_draws_are_uniform_independent_and_with_replacement():
    batches = jax.vmap(lambda key: draw_batch(key, jnp.arange(5), 3))(
        jax.random.split(jax.random.key(1), 6000)
    )
    for column in range(3):
        assert chisquare(np.bincount(batches[:, column], minlength=5)).pvalue > 1e-3
    pairs = np.bincount(batches[:, 0] * 5 + batches[:, 1], minlength=25)
    assert chisquare(pairs).pvalue > 1e-3


def test_a_batch_is_a_function_of_its_key_and_may_exceed_the_set():
    key, other = jax.random.split(jax.random.key(2))
    one = draw_batch(key, jnp.arange(4), 64)
    assert one.shape == (64,)
    assert set(one.tolist()) == {0, 1, 2, 3}
    np.testing.assert_array_equal(
        one, jax.jit(draw_batch, static_argnums=2)(key, jnp.arange(4), 64)
    )
    assert (one != draw_batch(other, jnp.arange(4), 64)).any()
