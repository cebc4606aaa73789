"""A linear softmax classifier, whose gradient everybody can write by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import softmax

import feasible_jax as fj
from feasible_jax.methods import Prepared

SGD = optax.sgd(1.0)


traces = []


def loss_fn(params, example):
    traces.append(None)  # this runs when JAX traces, not when it computes
    inputs, label = example
    logits = inputs.astype(params["w"].dtype) @ params["w"] + params["b"]
    return jax.nn.logsumexp(logits) - logits[label]


def predict_fn(params, inputs):
    traces.append(None)
    return jax.vmap(lambda x: x.astype(params["w"].dtype) @ params["w"] + params["b"])(inputs)


def probabilities_by_hand(params, inputs, temperature=1.0):
    """Softmax of the logits of one example, in float64 NumPy."""
    w, b = (np.asarray(params[name], np.float64) for name in ("w", "b"))
    return softmax((np.asarray(inputs, np.float64) @ w + b) / temperature)


def gradient_of_logits(inputs, residual):
    """The gradient of what has this gradient in the logits."""
    return {"w": np.outer(np.asarray(inputs, np.float64), residual), "b": residual}


def gradient_by_hand(params, example):
    """The gradient of the cross-entropy of one example, in float64 NumPy."""
    inputs, label = example
    residual = probabilities_by_hand(params, inputs)
    residual[int(label)] -= 1
    return gradient_of_logits(inputs, residual)


@pytest.fixture(autouse=True, scope="module")
def compile_quickly(quick_compilation):
    """Programs here are compiled far longer than they run."""


@pytest.fixture
def loss():
    return loss_fn


@pytest.fixture
def traces_of_loss():
    return traces


@pytest.fixture
def by_hand():
    return gradient_by_hand


@pytest.fixture
def predict():
    return predict_fn


@pytest.fixture
def by_residual():
    return gradient_of_logits


@pytest.fixture
def probabilities():
    return probabilities_by_hand


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    return {
        "w": jnp.asarray(rng.normal(size=(4, 3)), jnp.float32),
        "b": jnp.asarray(rng.normal(size=3), jnp.float32),
    }


@pytest.fixture
def moved(params):
    """Other parameters than the original ones."""
    return jax.tree.map(lambda leaf: leaf + jnp.cos(leaf + 1), params)


@pytest.fixture
def sets():
    """A forget set of 6 examples and a retain set of 20."""
    rng = np.random.default_rng(1)
    return {
        name: fj.Examples(rng.normal(size=(n, 4)).astype(np.float32), rng.integers(0, 3, n))
        for name, n in (("forget", 6), ("retain", 20))
    }


@pytest.fixture
def uneven_sets(sets):
    """The same, with some parameters that matter to the forget set more and some less."""
    forget = sets["forget"]._replace(
        inputs=sets["forget"].inputs * np.array([5, 5, 0.2, 0.2], np.float32)
    )
    return {**sets, "forget": forget}


@pytest.fixture
def lone_examples():
    """One example a set: whatever is drawn, the batch is known."""
    return {
        "forget": fj.Examples(np.array([[1.0, -2.0, 0.5, 0.0]], np.float32), np.array([1])),
        "retain": fj.Examples(np.array([[0.3, 0.7, -1.0, 2.0]], np.float32), np.array([2])),
    }


@pytest.fixture
def one_step(loss, lone_examples):
    """One step of plain gradient descent, with the learning rate 1 that makes it plain to see.

    It begins with the parameters ``begin`` instead where there are such: a model that has moved
    away from the original, as the second step would find it.
    """

    def step(method, params, batch_size=5, begin=None, **kwargs):
        if begin is not None:
            prepare = method.prepare or (lambda *args: Prepared())
            method = method._replace(prepare=lambda *args: prepare(*args)._replace(params=begin))
        result = fj.unlearn(
            kwargs.pop("loss_fn", loss), params, **{**lone_examples, **kwargs},
            method=method, optimizer=SGD, steps=1, batch_size=batch_size, progress=False,
            predict_fn=predict_fn,
        )  # fmt: skip
        begin = params if begin is None else begin
        return {name: np.asarray(begin[name] - result.params[name]) for name in params}, result

    return step
