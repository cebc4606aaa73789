import jax
import jax.numpy as jnp
import pytest

B = 6


def squashed(h):
    return jnp.sum(jnp.tanh(h) ** 2)


PLACES = {
    "bias": lambda p, x: squashed(x + p["v"]),
    "bias of rows": lambda p, x: squashed(x[None] * 2 + p["m"]),
    "subtracted": lambda p, x: squashed(x - p["v"]),
    "subtracted from": lambda p, x: squashed(p["v"] - x),
    "scale": lambda p, x: squashed(x * p["v"]),
    "divided by": lambda p, x: squashed(x / (p["v"] + 9)),
    "divided": lambda p, x: squashed(p["v"] / (x**2 + 1)),
    "scalar": lambda p, x: squashed(x * p["s"]),
    "scalar as power": lambda p, x: squashed((x**2 + 1) ** p["s"]),
    "maximum": lambda p, x: squashed(jnp.maximum(p["v"], x)),
    "where": lambda p, x: squashed(jnp.where(x > 0, p["v"], p["s"] * x)),
    "comparison": lambda p, x: squashed(jnp.where(x > p["v"], x, p["s"] * x)),
    "clamp": lambda p, x: squashed(jax.lax.clamp(-(p["v"] ** 2), x, p["v"] ** 2)),
    "concatenate": lambda p, x: squashed(jnp.concatenate([p["v"][None], x[None], p["m"]])),
    "stack": lambda p, x: squashed(jnp.stack([x, p["v"], p["m"][1]])),
    "update": lambda p, x: squashed(jnp.stack([x, x]).at[1].add(p["v"])),
    "updated": lambda p, x: squashed(p["m"].at[1].set(x)),
    "outer": lambda p, x: squashed(jnp.outer(p["v"], x)),
    "cumulative": lambda p, x: squashed(jnp.cumsum(x * p["v"])),
    "solve": lambda p, x: squashed(jnp.linalg.solve(p["m"] @ p["m"].T + jnp.eye(3), x)),
    "sort": lambda p, x: squashed(jnp.sort(jnp.concatenate([p["v"], x])) * jnp.sin(x[0])),
    "polynomial": lambda p, x: squashed(jnp.polyval(p["v"], x)),
    "parameters alone": lambda p, x: squashed(p["m"] @ p["v"]),
    "decay": lambda p, x: squashed(p["m"] @ x) + 0.1 * jnp.sum(p["m"] ** 2),
    "nothing": lambda p, x: squashed(x),
    "one of them": lambda p, x: p["s"],
    "stopped": lambda p, x: squashed(jax.lax.stop_gradient(p["m"]) @ x),
    "half stopped": lambda p, x: squashed(jax.lax.stop_gradient(p["m"]) @ x + p["m"][0]),
    "straight through": lambda p, x: squashed(
        (p["m"] + jax.lax.stop_gradient(jnp.sign(p["m"]) - p["m"])) @ x
    ),
    "argmax": lambda p, x: squashed(p["m"][jnp.argmax(p["v"] * x)]),
    "argmax of parameters": lambda p, x: squashed(p["m"][jnp.argmax(p["v"])] * x),
    "layer norm": lambda p, x: squashed(jax.nn.standardize(p["m"] @ x) * p["v"]),
    "tied": lambda p, x: squashed(p["m"].T @ jnp.sin(p["m"] @ x)),
    "complex": lambda p, x: squashed(jnp.abs(jnp.fft.fft(p["v"] * x)) + 0.0),
    "read by its own sum": lambda p, x: squashed(x * p["v"] * jnp.sum(p["m"])),
    "a constant of the loss": lambda p, x: squashed(x * p["v"] + jnp.asarray(RAMP, x.dtype)),
}
RAMP = [0.0, 0.5, 1.0]


@pytest.mark.parametrize("name", PLACES)
def test_where_parameters_meet_the_example(assert_oracle, normal, name):
    params = {"m": normal(3, 3), "s": jnp.float32(0.7), "v": normal(3)}
    assert_oracle(PLACES[name], params, normal(B, 3))


@pytest.mark.parametrize("weight", [[1.0, 0, 2, 1, 1, 3], [0.0, 0, 1, 0, 1, 0]])
def test_examples_that_count_several_times(assert_oracle, normal, weight):
    params = {"m": normal(3, 3), "s": jnp.float32(0.7), "v": normal(3)}
    for name in ("bias", "scalar", "decay", "stack"):
        third = sum(weight) > 2
        assert_oracle(PLACES[name], params, normal(B, 3), jnp.asarray(weight), third=third)


def test_a_class_token(assert_oracle, normal):
    def loss(p, x):
        h = jnp.concatenate([p["class"][None], x]) + p["position"]
        return squashed((h @ p["w"])[0] * 3) + squashed(jnp.sum(h @ p["w"], axis=0))

    params = {"class": normal(3), "position": normal(6, 3), "w": normal(3, 2)}
    assert_oracle(loss, params, normal(B, 5, 3))


def test_a_bias_is_lifted_before_it_is_broadcast(normal, plan_of):
    def loss(b, x):
        return squashed(x + jnp.broadcast_to(b, (50, 3)))

    plan = plan_of(loss, normal(3), normal(B, 50, 3))
    (use,) = plan.uses
    assert plan.program.avals[use.operand].shape == (3,)


@pytest.mark.parametrize("ndim", [0, 1])
def test_unused_and_integer_parameters_have_no_use(normal, plan_of, ndim):
    params = {"i": jnp.zeros((2,) * ndim, jnp.int32), "u": normal(3), "w": normal(3)}
    plan = plan_of(
        lambda p, x: jnp.sum(p["w"] * x + p["i"].astype(x.dtype).sum()), params, normal(B, 3)
    )
    assert {i for use in plan.uses for i in plan.reaches[use.top]} == {2}
    assert plan.left_over == {}


def test_what_is_too_large_to_lift_is_left_over_and_says_why(normal, plan_of):
    plan = plan_of(lambda p, x: jnp.sum(jnp.linalg.solve(p, x)), normal(70, 70), normal(B, 70))
    assert "no closed form" in plan.left_over[0]


@pytest.mark.parametrize("size", [20, 200])
def test_parameters_alone_at_any_size(assert_oracle, normal, size):
    assert_oracle(lambda p, x: squashed(p) + jnp.sum(x), normal(size, size), normal(B, 3))
