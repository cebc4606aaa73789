import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from feasible_jax.moments import per_example_gradients
from feasible_jax.moments.estimator import check_loss
from feasible_jax.moments.per_example import (
    check_batch,
    replace_padding,
    vary_like,
)


def loss(params, example):
    x, y = example
    return jnp.square(jnp.tanh(jnp.vdot(params["w"], x)) + params["b"] - y)


PARAMS = {"w": jnp.array([0.3, -1.0, 0.5]), "b": jnp.float32(0.1)}


def batch(size):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(size, 3)), jnp.float32), jnp.arange(size, dtype=jnp.float32)


one = jax.jit(jax.value_and_grad(loss))
gradients = jax.jit(per_example_gradients, static_argnums=0, static_argnames="has_aux")


def one_by_one(params, examples):
    rows = [one(params, example) for example in zip(*map(np.asarray, examples), strict=True)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def test_equals_one_gradient_after_the_other():
    chex.assert_trees_all_close(
        gradients(loss, PARAMS, batch(5)), one_by_one(PARAMS, batch(5)), rtol=1e-5
    )


@pytest.mark.parametrize("check_vma", [True, False])
def test_inside_shard_map_gradients_are_not_summed_over_the_shards(check_vma):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    program = jax.shard_map(
        lambda params, examples: per_example_gradients(loss, params, examples),
        mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"), check_vma=check_vma,
    )  # fmt: skip
    chex.assert_trees_all_close(
        jax.jit(program)(PARAMS, batch(16)), one_by_one(PARAMS, batch(16)), rtol=1e-5
    )


def test_shard_map_does_sum_without_the_guard():
    """The trap itself: were it gone, so could the guard be."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    naive = jax.shard_map(
        lambda params, examples: jax.vmap(jax.grad(loss), in_axes=(None, 0))(params, examples)["b"],
        mesh=mesh, in_specs=(P(), P("data")), out_specs=P(None),
    )  # fmt: skip
    summed = jax.jit(naive)(PARAMS, batch(16))
    _, grads = one_by_one(PARAMS, batch(16))
    np.testing.assert_allclose(summed, grads["b"].reshape(8, 2).sum(0), rtol=1e-4)


def test_vary_like_leaves_ordinary_arrays_alone():
    assert vary_like(PARAMS, batch(3)) is not None
    chex.assert_trees_all_equal(vary_like(PARAMS, batch(3)), PARAMS)


def test_an_explicit_mesh_is_fine():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        examples = jax.device_put(batch(16), P("data"))
        params = jax.device_put(PARAMS, P())
        check_loss(loss, params, examples)
        got = jax.tree.map(np.asarray, per_example_gradients(loss, params, examples))
    chex.assert_trees_all_close(
        got, jax.tree.map(np.asarray, one_by_one(PARAMS, batch(16))), rtol=1e-5
    )


def test_batch_size_is_read_off():
    assert check_batch(batch(5), None) == 5
    assert check_batch({"x": np.zeros((5, 2)), "nothing": None}, [1] * 5) == 5


@pytest.mark.parametrize(
    ("examples", "weights", "words"),
    [
        ({"x": jnp.ones((3, 2)), "y": jnp.ones(4)}, None, ["leading axis", "['y']", "(4,)"]),
        ({"x": jnp.ones(())}, None, ["leading axis", "['x']", "()"]),
        ({}, None, ["leading axis"]),
        ({"x": jnp.ones((0, 2))}, None, ["empty", "(0, 2)", "at least one"]),
        ({"x": jnp.ones((3, 2))}, jnp.ones((3, 1)), ["weights", "(3, 1)", "give (3,)"]),
        ({"x": jnp.ones((3, 2))}, [1.0], ["weights", "(1,)", "give (3,)"]),
    ],
)
def test_what_is_wrong_with_a_batch_is_said(examples, weights, words):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        check_batch(examples, weights)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("bad", "got"),
    [
        (lambda p, e: e[0], r"float32\[3\]"),
        (lambda p, e: jnp.int32(1), "int32"),
        (lambda p, e: (e[1], e[1]), "PyTreeDef"),
        (lambda p, e: jnp.complex64(1), "complex64"),
    ],
)
def test_a_loss_must_be_a_real_scalar(bad, got):
    with pytest.raises(ValueError, match=f"ONE example.*returned.*{got}"):
        check_loss(bad, PARAMS, batch(5))


def loss_and_prediction(params, example):
    return loss(params, example), jnp.vdot(params["w"], example[0])


def test_aux_comes_along_as_in_value_and_grad():
    losses, grads = gradients(loss, PARAMS, batch(5))
    got = gradients(loss_and_prediction, PARAMS, batch(5), has_aux=True)
    want = jnp.dot(batch(5)[0], PARAMS["w"])
    chex.assert_trees_all_close(got, ((losses, want), grads), rtol=1e-5)
    check_loss(loss_and_prediction, PARAMS, batch(5), has_aux=True)


@pytest.mark.parametrize("pairless", [loss, lambda p, e: (e[1],), lambda p, e: {"a": e[1], "b": 1}])
def test_a_loss_with_aux_must_return_a_pair(pairless):
    with pytest.raises(ValueError, match=r"pair \(loss, aux\).*returned PyTreeDef"):
        check_loss(pairless, PARAMS, batch(5), has_aux=True)


def test_the_loss_of_a_pair_must_be_a_real_scalar():
    with pytest.raises(ValueError, match=r"ONE example.*returned.*float32\[3\]"):
        check_loss(lambda p, e: e, PARAMS, batch(5), has_aux=True)


@pytest.mark.parametrize("weights", [[0, 2, 1, 0], [False, True, True, False], np.arange(4) % 3])
def test_padding_becomes_the_first_real_example(weights):
    x = jnp.arange(8.0).reshape(4, 2)
    keys = jax.random.split(jax.random.key(0), 4)
    poisoned = jnp.where(np.asarray(weights)[:, None] > 0, x, jnp.nan)
    got = replace_padding({"x": poisoned, "key": keys, "label": np.arange(4)}, weights)
    np.testing.assert_array_equal(got["label"], [1, 1, 2, 1])
    np.testing.assert_array_equal(got["x"], x[got["label"]])
    np.testing.assert_array_equal(
        jax.random.key_data(got["key"]), jax.random.key_data(keys[got["label"]])
    )


def test_without_weights_there_is_no_padding():
    examples = batch(3)
    assert replace_padding(examples, None) is examples


def test_where_all_is_padding_the_first_example_stands_in():
    assert replace_padding(jnp.arange(3.0) + 1, jnp.zeros(3)).tolist() == [1, 1, 1]
