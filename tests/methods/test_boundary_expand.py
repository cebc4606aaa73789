import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import softmax

import feasible_jax as fj
from feasible_jax.methods import Prepared, Problem, boundary_expand

RNG = np.random.default_rng(3)
PARAMS = {
    "a_head": {"b": RNG.normal(size=3), "w": RNG.normal(size=(5, 3))},
    "body": {"w": RNG.normal(size=(4, 5))},
}
SHADOW = {"b": RNG.normal(size=3), "w": RNG.normal(size=(5, 3))}
X = RNG.normal(size=4)
FORGET = fj.Examples(np.float32(X)[None], np.array([1]))


def predict(params, inputs):
    hidden = inputs @ params["body"]["w"]
    return hidden @ params["a_head"]["w"] + params["a_head"]["b"][None]


def loss(params, example):
    logits = predict(params, example.inputs[None])[0]
    return jax.nn.logsumexp(logits) - logits[example.labels]


def single(tree):
    return jax.tree.map(jnp.float32, tree)


def trained_by_hand(steps, rate, momentum):
    """The paper's way, in float64 NumPy: a last layer with a fourth column, trained and cut off."""
    body = PARAMS["body"]["w"]
    weights = np.column_stack([PARAMS["a_head"]["w"], SHADOW["w"][:, 0]])
    bias = np.append(PARAMS["a_head"]["b"], SHADOW["b"][0])
    speeds = [0.0, 0.0, 0.0]
    for _ in range(steps):
        hidden = X @ body
        residual = softmax(hidden @ weights + bias) - np.eye(4)[3]
        gradients = np.outer(X, weights @ residual), np.outer(hidden, residual), residual
        speeds = [momentum * v + g for v, g in zip(speeds, gradients, strict=True)]
        body, weights, bias = (
            p - rate * v for p, v in zip((body, weights, bias), speeds, strict=True)
        )
    return {"a_head": {"b": bias[:3], "w": weights[:, :3]}, "body": {"w": body}}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_parameters_become_what_they_become_beside_a_shadow_row_that_is_trained(momentum):
    extras = {"a_head": single(SHADOW), "body": {"w": jnp.zeros(0)}}
    method = boundary_expand()._replace(prepare=lambda *args: Prepared(extras=extras))
    result = fj.unlearn(
        loss, single(PARAMS), forget=FORGET, retain=FORGET, method=method, steps=5, batch_size=2,
        optimizer=optax.sgd(0.05, momentum), predict_fn=predict, progress=False,
    )  # fmt: skip
    want = trained_by_hand(5, 0.05, momentum)
    jax.tree.map(lambda p, w: np.testing.assert_allclose(p, w, atol=3e-6), result.params, want)
    assert np.abs(want["body"]["w"] - PARAMS["body"]["w"]).max() > 0.05


def test_the_shadow_neuron_replaces_the_layer_used_last_and_no_other():
    method = boundary_expand()
    assert method.prepare is not None
    problem = Problem(loss, predict, single(PARAMS))
    forget = jax.tree.map(jnp.asarray, FORGET)
    shadow = method.prepare(problem, {"forget": forget}, jax.random.key(0)).extras
    assert shadow["body"]["w"].shape == (0,)
    assert (shadow["a_head"]["w"] != problem.original_params["a_head"]["w"]).all()
    named = boundary_expand(("a_head",)).prepare
    assert named is not None
    again = named(problem, {"forget": forget}, jax.random.key(0)).extras
    jax.tree.map(np.testing.assert_array_equal, shadow, again)


def test_a_head_that_is_none_is_refused():
    with pytest.raises(ValueError, match="layers=0"):
        boundary_expand(0)
