import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from feasible_jax.alignment import directional_derivatives, loss_change

KINDS = [loss_change, directional_derivatives]


def loss(params, example):
    inputs, target = example
    return jnp.tanh(inputs @ params["w"] + params["b"] - target) ** 2


def problem(dtype="float32", size=16):
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)  # noqa: E731
    params, updates = ({"w": draw(3), "b": draw()} for _ in range(2))
    return params, updates, (draw(size, 3), draw(size))


def one_by_one(params, updates, batch, first_order):
    """A loop over examples, in float64."""
    changes = []
    with jax.enable_x64(True):
        wide = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)  # noqa: E731
        params, updates, batch = wide(params), wide(updates), wide(batch)
        for row in range(len(batch[1])):
            example = batch[0][row], batch[1][row]
            if first_order:
                slopes = jax.grad(loss)(params, example)
                changes.append(sum(float(jnp.sum(slopes[k] * updates[k])) for k in slopes))
            else:
                moved = {k: params[k] + updates[k] for k in params}
                changes.append(float(loss(moved, example) - loss(params, example)))
    return np.array(changes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_equals_a_loop_over_examples(kind, scale):
    params, updates, batch = problem()
    updates = jax.tree.map(lambda u: u * scale, updates)
    change = kind(loss, batch)
    want = one_by_one(params, updates, batch, change.first_order)
    np.testing.assert_allclose(change(params, updates), want, rtol=2e-3, atol=1e-6 * scale + 2e-7)
    assert change.first_order == (kind is directional_derivatives)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hole", [None, optax.MaskedNode()])
def test_what_is_left_out_of_an_update_does_not_move(kind, hole):
    params, updates, batch = problem()
    still = kind(loss, batch)(params, {**updates, "b": jnp.zeros(())})
    np.testing.assert_allclose(kind(loss, batch)(params, {**updates, "b": hole}), still, rtol=1e-6)
    assert not np.allclose(still, kind(loss, batch)(params, updates))


def test_parameters_that_are_none_stay_none():
    params, updates, batch = problem()
    change = loss_change(lambda p, example: loss(p["inner"], example), batch)
    got = change({"inner": params, "frozen": None}, {"inner": updates, "frozen": None})
    np.testing.assert_allclose(got, loss_change(loss, batch)(params, updates))


@pytest.mark.parametrize("kind", KINDS)
def test_narrow_parameters_are_rounded_as_they_will_be_and_changes_are_not(kind):
    params, updates, batch = problem(jnp.bfloat16)
    assert kind(loss, batch)(params, updates).dtype == jnp.float32
    lost = jax.tree.map(lambda p: p * 2.0**-12, params)  # below half a unit in the last place
    changes = kind(loss, batch)(params, lost)
    assert bool(jnp.any(changes != 0)) == (kind is directional_derivatives)


def test_float64_stays_float64():
    with jax.enable_x64(True):
        params, updates, batch = problem("float64")
        for kind in KINDS:
            change = kind(loss, batch)
            want = one_by_one(params, updates, batch, change.first_order)
            np.testing.assert_allclose(change(params, updates), want, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_crosses_jit_as_an_argument_without_compiling_anew(kind):
    params, updates, batch = problem()
    traces = []

    @jax.jit
    def call(change, params, updates):
        traces.append(None)
        return change(params, updates), change.weights

    for scale in (1.0, 2.0, 3.0):
        scaled = jax.tree.map(lambda x, s=scale: x * s, batch)
        change = kind(loss, scaled, jnp.full(16, scale))
        got, weights = call(change, params, updates)
        np.testing.assert_allclose(got, change(params, updates), rtol=1e-4, atol=1e-6)
        assert weights.tolist() == [scale] * 16
    assert len(traces) == 1
    other = directional_derivatives if kind is loss_change else loss_change
    call(other(loss, batch, jnp.ones(16)), params, updates)
    assert len(traces) == 2, "the kind is part of the program"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("check_vma", [True, False])
def test_inside_shard_map_each_shard_sees_its_own_examples(kind, check_vma):
    params, updates, batch = problem()
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    program = jax.shard_map(
        lambda params, updates, batch: kind(loss, batch)(params, updates),
        mesh=mesh, in_specs=(P(), P(), P("data")), out_specs=P("data"), check_vma=check_vma,
    )  # fmt: skip
    want = kind(loss, batch)(params, updates)
    got = jax.jit(program)(params, updates, batch)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_and_weights_that_do_not_fit_are_refused(kind):
    with pytest.raises(ValueError, match="empty"):
        kind(loss, (jnp.zeros((0, 3)), jnp.zeros(0)))
    with pytest.raises(ValueError, match="leading axis"):
        kind(loss, (jnp.zeros((4, 3)), jnp.zeros(3)))
    with pytest.raises(ValueError, match="weights"):
        kind(loss, (jnp.zeros((4, 3)), jnp.zeros(4)), jnp.ones(3))


def test_harm_below_the_rounding_of_the_losses_is_seen():
    """``20 + w x`` does not change in float32 by a step of 1e-7, but it does rise."""
    batch = 1 + 0.1 * jnp.arange(8.0)
    change = loss_change(lambda w, x: 20 + w * x, batch)
    np.testing.assert_allclose(change(jnp.float32(0), jnp.float32(1e-7)), 1e-7 * batch, rtol=1e-5)
    np.testing.assert_array_equal(change(jnp.float32(0), jnp.float32(0)), 0)
    untouched = loss_change(lambda w, x: 20 + w[0] * x, batch)
    np.testing.assert_array_equal(untouched(jnp.zeros(2), jnp.array([0.0, 1.0])), 0)


def test_padding_has_no_say_in_what_is_rounding():
    batch, weights = jnp.array([1.0, 1e9]), jnp.array([1.0, 0.0])
    change = loss_change(lambda w, x: 20 + w * x, batch, weights)
    np.testing.assert_allclose(change(jnp.float32(0), jnp.float32(1e-7))[0], 1e-7, rtol=1e-5)


def test_a_step_that_bfloat16_swallows_is_no_step():
    change = loss_change(lambda w, x: jnp.float32(20) + w.astype(jnp.float32) * x, jnp.ones(4))
    np.testing.assert_array_equal(change(jnp.bfloat16(1), jnp.bfloat16(1e-4)), 0)
