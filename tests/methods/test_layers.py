import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.methods.layers import check_layers, in_layers, order_of_use
from feasible_jax.models import build_model, cross_entropy
from feasible_jax.unlearning import Examples

X = jnp.ones((5, 3))
SQUARE = {name: jnp.eye(3) for name in "abc"}


def used(loss, params=SQUARE, examples=X):
    names = sorted(params)
    return "".join(names[i] for i in order_of_use(loss, params, examples))


def in_turn(params, x, order="cab"):
    for name in order:
        x = jnp.tanh(params[name] @ x)
    return x.sum()


def cast_first(params, x):
    """A cast of all parameters, in alphabetical order, is not their use."""
    return in_turn(jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16).astype(x.dtype), params), x)


def under_jit(params, x):
    return jax.jit(in_turn)(params, x)


def under_remat(params, x):
    return jax.checkpoint(in_turn)(params, x)


def under_cond(params, x):
    return jax.lax.cond(x[0] > 0, in_turn, lambda params, x: x.sum(), params, x)


def in_a_scan(params, x):
    """``c`` before the loop, ``a`` in it, ``b`` after it."""

    def step(carry, _):
        return jnp.tanh(params["a"] @ carry), None

    carry, _ = jax.lax.scan(step, params["c"] @ x, None, length=2)
    return (params["b"] @ carry).sum()


def used_again(params, x):
    return in_turn(params, x) + (params["c"] @ x).sum()


def made_of_two(params, x):
    """A product of two parameters meets the example as one."""
    return in_turn({"c": params["c"], "a": params["a"] @ params["b"], "b": params["b"]}, x)


@pytest.mark.parametrize(
    "loss",
    [in_turn, cast_first, under_jit, under_remat, under_cond, in_a_scan, used_again, made_of_two],
)
def test_leaves_come_in_the_order_of_their_use(loss):
    assert used(loss) == "cab"


def test_what_is_looked_up_is_used_where_it_is_looked_up():
    embed = {"a": jnp.eye(3), "z": jnp.ones((7, 3))}
    assert used(lambda p, i: (p["a"] @ p["z"][i]).sum(), embed, jnp.arange(5)) == "za"


def test_what_is_never_used_comes_first():
    assert used(lambda params, x: in_turn(params, x, "ba")) == "cba"


def test_a_function_with_a_gradient_of_its_own_is_one_use():
    @jax.custom_vjp
    def own(w, x):
        return w @ x

    own.defvjp(lambda w, x: (w @ x, (w, x)), lambda r, g: (jnp.outer(g, r[1]), r[0].T @ g))
    assert used(lambda p, x: (p["a"] @ own(p["c"], own(p["b"], x))).sum()) == "bca"


@pytest.mark.parametrize(
    ("name", "options", "last"),
    [
        ("mlp", {"hidden_sizes": (8, 8)}, ["dense_2", "head"]),
        ("cnn", {"widths": (4, 4)}, ["conv_2", "head"]),
        ("resnet18", {"width": 4}, ["block_4_2/norm_2", "head"]),
    ],
)
def test_the_last_layers_of_the_built_in_models(name, options, last):
    model = build_model(name, (8, 8, 1), 3, **options)
    params = jax.eval_shape(model.init, jax.random.key(0))
    examples = Examples(np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, int))
    chosen = in_layers(2, cross_entropy(model), params, examples)
    paths = jax.tree_util.tree_leaves_with_path(chosen)
    layers = {jax.tree_util.keystr(p[:-1], simple=True, separator="/") for p, yes in paths if yes}
    assert sorted(layers) == last


def test_layers_are_named_by_their_path_or_that_of_a_parent():
    params = {"block": {"a": {"w": jnp.eye(3)}, "b": {"w": jnp.eye(3)}}, "block_2": [jnp.eye(3)]}

    def loss(p, x):
        return (p["block_2"][0] @ p["block"]["b"]["w"] @ p["block"]["a"]["w"] @ x).sum()

    assert in_layers(("block",), loss, params, X) == {
        "block": {"a": {"w": True}, "b": {"w": True}},
        "block_2": [False],
    }
    one = in_layers(("block/b", "block_2"), loss, params, X)
    assert one == {"block": {"a": {"w": False}, "b": {"w": True}}, "block_2": [True]}
    with pytest.raises(ValueError, match="'lock', which is none of block/"):
        in_layers(("lock",), loss, params, X)


def test_a_flat_tree_is_one_layer():
    assert in_layers(1, in_turn, SQUARE, X) == dict.fromkeys("abc", True)
    with pytest.raises(ValueError, match="but the model has 1: the parameters as a whole"):
        in_layers(2, in_turn, SQUARE, X)


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, (), "head", ("head", 1), ["head"]])
def test_neither_a_number_nor_paths_is_refused(wrong):
    with pytest.raises(ValueError, match="layers="):
        check_layers(wrong)
