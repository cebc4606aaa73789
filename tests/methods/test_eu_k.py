import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.methods import Problem, eu_k

PARAMS = {
    f"{place}_{name}": {"b": jnp.arange(1.0, 4.0), "w": jnp.eye(3) + i}
    for i, (place, name) in enumerate((("z", "first"), ("m", "middle"), ("a", "last")))
}
RETAIN = jnp.ones((5, 3))


def loss(params, x):
    x = x.astype(params["z_first"]["w"].dtype)
    for layer in ("z_first", "m_middle", "a_last"):
        x = jnp.tanh(params[layer]["w"] @ x + params[layer]["b"])
    return x.sum()


def prepared(method, key=0, params=PARAMS):
    problem = Problem(loss, None, params)
    return method.prepare(problem, {"retain": RETAIN}, jax.random.key(key))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_all_of_the_last_layers_begin_afresh_and_they_alone(count):
    made = prepared(eu_k(count))
    for i, layer in enumerate(("z_first", "m_middle", "a_last")):
        fresh = i >= 3 - count
        for name, leaf in PARAMS[layer].items():
            changed = made.params[layer][name] != leaf
            assert changed.all() if fresh else not changed.any()
            assert bool(made.mask[layer][name]) == fresh


def test_the_key_decides_the_draw():
    one, other = (prepared(eu_k(1), key).params["a_last"]["w"] for key in (0, 1))
    assert (one != other).all()


def test_the_model_s_own_initialisation_may_be_given_and_gets_the_dtype_of_the_parameters():
    def init(key):
        return jax.tree.map(lambda leaf: jax.random.normal(key, leaf.shape), PARAMS)

    low = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
    made = prepared(eu_k(("a_last",), init=init), key=7, params=low)
    want = jax.random.normal(jax.random.key(7), (3, 3)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(made.params["a_last"]["w"], want)
    np.testing.assert_array_equal(made.params["m_middle"]["w"], low["m_middle"]["w"])


def test_an_initialisation_of_another_model_is_refused():
    with pytest.raises(ValueError, match="another structure"):
        prepared(eu_k(1, init=lambda key: {"w": jnp.zeros(3)}))


def test_one_step_descends_the_retain_loss_from_there(
    one_step, params, moved, by_hand, lone_examples
):
    gradient, _ = one_step(eu_k(1), params, begin=moved)
    expected = by_hand(moved, [part[0] for part in lone_examples["retain"]])
    for name in params:
        np.testing.assert_allclose(gradient[name], expected[name], atol=2e-6)
