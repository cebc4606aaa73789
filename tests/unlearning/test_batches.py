import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
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


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("is_spread", [True, False])
@pytest.mark.parametrize("axes", [("y", "x"), ("x",)])
def test_a_mesh_draws_what_one_device_draws(axes, kind, is_spread):
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(kind,) * 2)
    rows = NamedSharding(mesh, P(axes))
    examples = {
        "a": np.arange(48, dtype=np.float32).reshape(24, 2) - 20,
        "b": np.arange(24) % 3 == 0,
        "c": np.arange(24, dtype=np.uint8),
    }
    lie = rows if is_spread else NamedSharding(mesh, P())
    draw = jax.jit(draw_batch, static_argnums=(2, 3, 4))
    key = jax.random.key(5)
    got = draw(key, jax.device_put(examples, lie), 16, rows, is_spread)
    for name, want in draw_batch(key, examples, 16).items():
        assert got[name].dtype == want.dtype
        np.testing.assert_array_equal(got[name], want)
        assert got[name].sharding.is_equivalent_to(rows, want.ndim)


def test_the_set_does_not_cross_the_mesh(what_crosses):
    """A batch does: what it has of others' rows."""
    mesh = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, P("x"))
    draw = jax.jit(draw_batch, static_argnums=(2, 3, 4))
    for is_spread, most in ((True, 16 * 3), (False, 0)):
        examples = jax.device_put(
            np.ones((800, 3)), rows if is_spread else NamedSharding(mesh, P())
        )
        program = draw.lower(jax.random.key(0), examples, 16, rows, is_spread).compile()
        assert sum(numbers * times for _, numbers, times in what_crosses(program)) <= most
