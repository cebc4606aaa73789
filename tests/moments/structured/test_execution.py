import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from feasible_jax.moments import grad_moments, reduce_moments

B = 6


def squashed(h):
    return jnp.sum(jnp.tanh(h) ** 2)


def recurrent(p, x):
    def step(h, row):
        h = jnp.tanh(p["w"] @ h + p["u"] @ row + p["b"])
        return h, h

    return squashed(jax.lax.scan(step, p["h0"], x)[1])


def backwards(p, x):
    def step(h, layer_and_row):
        layer, row = layer_and_row
        return jnp.tanh(layer @ h + row), h * p["b"]

    h, hs = jax.lax.scan(step, x[0], (p["layers"], x), reverse=True)
    return squashed(h) + squashed(hs)


def layers(p, x):
    def step(h, layer):
        w, b = layer
        return jnp.tanh(h @ w + b[None]), None

    return squashed(jax.lax.scan(step, x, (p["layers"], p["biases"]))[0])


def rematerialised_layers(p, x):
    def step(h, layer):
        w, b = layer
        return jax.checkpoint(lambda h: jnp.tanh(h @ w + b[None]) * p["b"][None])(h), None

    return squashed(jax.lax.scan(step, x, (p["layers"], p["biases"]))[0])


def nested(p, x):
    def outer(h, group):
        def inner(h, w):
            return jnp.tanh(h @ w @ p["w"] + group["b"][None]), None

        return jax.lax.scan(inner, h, group["w"])[0] + p["b"][None], None

    groups = {"w": p["layers"][:4].reshape(2, 2, *p["w"].shape), "b": p["biases"][:2]}
    return squashed(jax.lax.scan(outer, x, groups)[0])


def nested_sum_and_stack(p, x):
    # The layer differs by outer step, and is used at each inner one.
    def outer(h, w):
        return jax.lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ w + p["b"][None]), h), None

    return squashed(jax.lax.scan(outer, x, p["layers"])[0])


def nested_stack_and_sum(p, x):
    # The layer differs by inner step, and so is used at each outer one.
    def outer(h, _):
        return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), h, p["layers"])[0], None

    return squashed(jax.lax.scan(outer, x, None, length=2)[0])


def choice(p, x):
    def yes():
        return jnp.tanh(x @ p["w"] + p["b"][None])

    def no():
        return jnp.sin(x @ p["v"] + p["w"][0][None])

    return squashed(jax.lax.cond(x[0, 0] > 0, yes, no))


def switch(p, x):
    branches = [lambda w: x @ w, lambda w: x @ w.T + p["b"][None], lambda w: x * w[0][None]]
    index = jnp.clip(jnp.floor(x[0, 0] + 1.5), 0, 2).astype(jnp.int32)
    return squashed(jax.lax.switch(index, branches, p["w"]))


def choice_without_example(p, x):
    return squashed(x @ jax.lax.cond(p["b"][0] > 0, lambda w: w, lambda w: 2 * w.T, p["w"]))


def choice_among_constants(p, x):
    # In one branch the output is made of parameters alone, in the other of the example alone.
    return squashed(jax.lax.cond(x[0, 0] > 0, lambda: p["b"] * 1.0, lambda: x[0]) * x[1])


def choice_in_scan(p, x):
    def step(h, w):
        yes, no = (lambda h: jnp.tanh(h @ w)), (lambda h: jnp.sin(h @ w.T) + p["b"][None])
        return jax.lax.cond(h[0, 0] > 0, yes, no, h), None

    return squashed(jax.lax.scan(step, x, p["layers"])[0])


def scan_in_choice(p, x):
    def deep(h):
        return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w + p["b"][None]), None), h, p["layers"])[0]

    return squashed(jax.lax.cond(x[0, 0] > 0, deep, lambda h: jnp.sin(h @ p["w"]), x))


def choice_in_scan_in_choice_in_scan(p, x):
    def inner(h, w):
        return jax.lax.cond(
            h[0, 1] > 0, lambda h: jnp.tanh(h @ w), lambda h: h @ p["w"] / 2, h
        ), None

    def outer(h, b):
        def loop(h):
            return jax.lax.scan(inner, h, p["layers"])[0] + b[None]

        return jax.lax.cond(h[0, 0] > 0, loop, lambda h: h * b[None], h), None

    return squashed(jax.lax.scan(outer, x, p["biases"])[0])


def remat_with_policy(p, x):
    block = jax.checkpoint(
        lambda w, b, x: jnp.tanh(jnp.sin(x @ w) @ w.T + b[None]),
        policy=jax.checkpoint_policies.dots_saveable,
        prevent_cse=False,
    )
    return squashed(block(p["w"], p["b"], x)) + squashed(block(p["v"], p["b"], x))


def remat_in_remat(p, x):
    @jax.checkpoint
    def outer(w, b, x):
        return jax.checkpoint(lambda v: jnp.tanh(x @ v + b[None]))(2 * w.T) @ w

    return squashed(outer(p["w"], p["b"], x))


def carried_parameters(p, x):
    def step(carry, row):
        h, w = carry
        return (jnp.tanh(w @ h + row), w * 0.9), None

    return squashed(jax.lax.scan(step, (p["h0"], p["w"]), x)[0][0])


def stacked_parameters_alone(p, x):
    # The scan hands out parameters, untouched by the example.
    def step(h, row):
        return jnp.tanh(h + row * p["b"]), p["b"] * 2

    h, copies = jax.lax.scan(step, x[0], x)
    return squashed(h) + squashed(copies * x)


LOSSES = [
    recurrent, backwards, layers, rematerialised_layers, nested, nested_sum_and_stack,
    nested_stack_and_sum, choice, switch, choice_without_example, choice_among_constants,
    choice_in_scan, scan_in_choice, choice_in_scan_in_choice_in_scan, remat_with_policy,
    remat_in_remat, carried_parameters, stacked_parameters_alone,
]  # fmt: skip


def control_params(normal):
    shapes = {"w": (4, 4), "v": (4, 4), "u": (4, 4), "b": (4,), "h0": (4,), "layers": (5, 4, 4)}
    return {name: normal(*shape) / 2 for name, shape in shapes.items()} | {"biases": normal(5, 4)}


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("weighted", [False, True])
def test_control_flow(assert_oracle, normal, loss, weighted):
    weights = jnp.asarray([1.0, 0, 2, 1, 1, 3]) if weighted else None
    assert_oracle(loss, control_params(normal), normal(B, 5, 4), weights)


@pytest.mark.parametrize("loss", [recurrent, layers, nested, choice_in_scan, scan_in_choice])
def test_large_layers_in_control_flow(assert_oracle, normal, loss):
    shapes = {"w": (48, 48), "u": (48, 48), "b": (48,), "h0": (48,), "layers": (5, 48, 48)}
    params = {name: normal(*shape) / 7 for name, shape in shapes.items()}
    assert_oracle(loss, params | {"biases": normal(5, 48)}, normal(40, 5, 48))


@jax.custom_jvp
def half_gradient(h):
    return jnp.sin(h)


half_gradient.defjvp(lambda primals, tangents: (jnp.sin(primals[0]), 0.5 * tangents[0]))


@jax.custom_vjp
def doubled(w, x):
    return jnp.tanh(w @ x)


def doubled_backward(residual, grad):
    w, x = residual
    return 2 * jnp.outer(grad, x), w.T @ grad


doubled.defvjp(lambda w, x: (doubled(w, x), (w, x)), doubled_backward)


@pytest.mark.parametrize("function", [half_gradient, jax.nn.relu, jax.nn.silu, jax.jit(jnp.sin)])
def test_derivatives_of_their_own_are_kept(assert_oracle, normal, function):
    def loss(p, x):
        return squashed(function(p["w"] @ x + p["b"])) + squashed(function(p["w"]) @ x)

    assert_oracle(loss, {"w": normal(4, 3), "b": normal(4)}, normal(B, 3))


@pytest.mark.parametrize(("rows", "left_over"), [(4, []), (100, [1])])
def test_a_custom_gradient_of_parameters_and_example(
    assert_oracle, ways_of, normal, rows, left_over
):
    def loss(p, x):
        return squashed(doubled(p["w"] / 7, jnp.tanh(p["v"] * x)))

    params, batch = {"v": normal(60), "w": normal(rows, 60)}, normal(B, 60)
    assert list(ways_of(loss, params, batch).left_over) == left_over
    assert_oracle(loss, params, batch)


def rows_of_a_table(p, x):
    ids = jnp.clip(jnp.floor(x[:, 0] + 2), 0, 3).astype(jnp.int32)
    cells = jax.lax.dynamic_slice(p["v"], (ids[0], ids[1]), (1, 2))
    return squashed(p["w"][ids] * x) + squashed(cells * x[0, 0]) + squashed(x * p["b"][ids[0]])


def from_affine_ways(p, x):
    w = jax.lax.pad(2 - p["layers"][1:3, ::2].reshape(4, 4) / 3, x.dtype.type(1), ((1, 0, 0),) * 2)
    return squashed(x @ w[1:, 1:]) + squashed(jnp.tril(p["v"]) @ x[0]) + jnp.sum(p["u"] ** 2)


def spread(p, x):
    return layers(p, x) + choice(p, x) + squashed(x @ p["u"]) + squashed(x[0] @ p["v"])


SHARDED = [
    spread, rows_of_a_table, from_affine_ways, nested, recurrent, choice_in_scan_in_choice_in_scan,
    remat_with_policy, switch, stacked_parameters_alone, carried_parameters,
]  # fmt: skip


def over_shards(loss, weighted):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    take = grad_moments(loss, "structured")

    def shard(params, batch, weights):
        return reduce_moments(take(params, batch, weights if weighted else None), "data")

    rows = P("data")
    return jax.jit(jax.shard_map(shard, mesh=mesh, in_specs=(P(), rows, rows), out_specs=P()))


@pytest.mark.parametrize(
    ("loss", "weighted"),
    [(spread, False), *((loss, True) for loss in SHARDED)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_inside_shard_map(assert_moments, wide_oracle, normal, loss, weighted):
    params, batch = control_params(normal), normal(24, 5, 4)
    weights = jnp.asarray(np.r_[0, 0, 0, 1, 1, 2, np.ones(18)], jnp.float32)
    want = wide_oracle(loss, params, batch, weights if weighted else None, third=False)
    assert_moments(over_shards(loss, weighted)(params, batch, weights), want, 1e-5)


@pytest.mark.parametrize("loss", SHARDED, ids=lambda loss: loss.__name__)
def test_what_varies_over_shards_is_typed_so_without_weights_too(normal, loss):
    program = over_shards(loss, weighted=False)
    params = control_params(normal)
    moments = jax.eval_shape(program, params, normal(24, 5, 4), jnp.ones(24))
    chex.assert_trees_all_equal_shapes_and_dtypes(moments.variance, params)


def test_random_numbers_of_each_example(normal):
    def loss(w, example):
        mask = jax.random.bernoulli(example["key"], 0.5, (3,))
        return squashed(w @ jnp.where(mask, example["x"], 0))

    batch = {"x": normal(B, 3), "key": jax.random.split(jax.random.key(0), B)}
    for weights in (None, jnp.ones(B).at[2].set(0)):
        moments = [
            jax.jit(grad_moments(loss, s))(jnp.ones((4, 3)), batch, weights)
            for s in ("structured", "vmap")
        ]
        chex.assert_trees_all_close(*moments, rtol=1e-5, atol=1e-6)
