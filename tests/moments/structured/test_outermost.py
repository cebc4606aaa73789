import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.moments.structured.outermost import back_to_params

# From parameters a (4, 3), b (4, 3) and s () to a (4, 3) value; does each entry only move?
MADE = {
    "itself": (lambda p: p["a"] * 1, False),
    "moved": (lambda p: p["a"].T[::-1].T, True),
    "affine": (lambda p: 2 - p["a"] / 3, False),
    "cast": (lambda p: p["a"].astype(jnp.bfloat16).astype(jnp.float32), True),
    "product": (lambda p: p["a"] * p["b"], False),
    "sum": (lambda p: p["a"] + p["b"] * p["s"], False),
    "softplus": (lambda p: jax.nn.softplus(p["a"]), False),
    "norm": (lambda p: p["s"] * p["a"] / jnp.linalg.norm(p["a"], axis=1, keepdims=True), False),
    "joined": (lambda p: jnp.concatenate([p["a"][:2], p["b"][2:]]), False),
    "reciprocal": (lambda p: 1 / (p["a"] + 9), False),
    "layers": (lambda p: jax.lax.scan(lambda c, r: (c * r, c), p["b"][0], p["a"])[1], False),
}


@pytest.mark.parametrize("name", MADE)
def test_the_gradient_goes_back_to_every_parameter(plan_of, normal, name):
    make, unit = MADE[name]
    params = {"a": normal(4, 3), "b": normal(4, 3), "s": jnp.float32(0.7)}
    plan = plan_of(lambda p, x: jnp.sum(jnp.sin(make(p) @ x)), params, jnp.ones((2, 3)))
    use = next(use for use in plan.uses if use.op is not None)
    assert plan.program.avals[use.top].shape == (4, 3)
    leaves, seed = jax.tree.leaves(params), normal(4, 3)
    back, moves = back_to_params(plan, use.top, leaves)
    (want,) = jax.jit(lambda params, seed: jax.vjp(make, params)[1](seed))(params, seed)
    got = jax.jit(back)(seed)
    for i, (key, grad) in enumerate(sorted(want.items())):
        if i in plan.reaches[use.top]:
            rtol = 1e-2 if name == "cast" else 1e-5
            np.testing.assert_allclose(got[i], grad, rtol=rtol, atol=1e-6, err_msg=key)
        else:
            assert np.all(grad == 0)
    assert moves == unit


def test_gradients_of_narrow_parameters_come_back_in_float32(plan_of, normal):
    params = {"a": normal(4, 3).astype(jnp.bfloat16)}

    def loss(p, x):
        return jnp.sum(jnp.sin(jnp.exp(p["a"]) @ x.astype(jnp.bfloat16))).astype(jnp.float32)

    plan = plan_of(loss, params, jnp.ones((2, 3)))
    (use,) = plan.uses
    back, _ = back_to_params(plan, use.top, jax.tree.leaves(params))
    assert back(normal(4, 3))[0].dtype == jnp.float32
