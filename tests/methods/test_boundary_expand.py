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


def gradient_by_hand():
    """Of ``logsumexp(z, s) - s`` with ``z`` of the model and ``s`` of the shadow neuron."""
    body, head = PARAMS["body"]["w"], PARAMS["a_head"]
    hidden = X @ body
    z, s = hidden @ head["w"] + head["b"], hidden @ SHADOW["w"][:, 0] + SHADOW["b"][0]
    q = softmax([*z, s])
    to_hidden = head["w"] @ q[:3] + SHADOW["w"][:, 0] * (q[3] - 1)
    return {
        "a_head": {"b": q[:3], "w": np.outer(hidden, q[:3])},
        "body": {"w": np.outer(X, to_hidden)},
    }


def test_one_step_sends_the_forget_set_to_the_shadow_class():
    extras = {"a_head": single(SHADOW), "body": {"w": jnp.zeros(0)}}
    method = boundary_expand()._replace(prepare=lambda *args: Prepared(extras=extras))
    result = fj.unlearn(
        loss, single(PARAMS), forget=FORGET, retain=FORGET, method=method, steps=1, batch_size=2,
        optimizer=optax.sgd(1.0), predict_fn=predict, progress=False,
    )  # fmt: skip
    step = jax.tree.map(lambda old, new: old - np.asarray(new), PARAMS, result.params)
    jax.tree.map(lambda s, g: np.testing.assert_allclose(s, g, atol=3e-6), step, gradient_by_hand())


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
