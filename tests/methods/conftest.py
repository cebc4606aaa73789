"""A linear softmax classifier, whose gradient everybody can write by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj

SGD = optax.sgd(1.0)


traces = []


def loss_fn(params, example):
    traces.append(None)  # this runs when JAX traces, not when it computes
    inputs, label = example
    logits = inputs.astype(params["w"].dtype) @ params["w"] + params["b"]
    return jax.nn.logsumexp(logits) - logits[label]


def gradient_by_hand(params, example):
    """The gradient of the cross-entropy of one example, in float64 NumPy."""
    inputs, label = np.asarray(example[0], np.float64), int(example[1])
    logits = inputs @ np.asarray(params["w"], np.float64) + np.asarray(params["b"], np.float64)
    residual = np.exp(logits - logits.max())
    residual /= residual.sum()
    residual[label] -= 1
    return {"w": np.outer(inputs, residual), "b": residual}


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
def params():
    rng = np.random.default_rng(0)
    return {
        "w": jnp.asarray(rng.normal(size=(4, 3)), jnp.float32),
        "b": jnp.asarray(rng.normal(size=3), jnp.float32),
    }


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
    """One step of plain gradient descent, with the learning rate 1 that makes it plain to see."""

    def step(method, params, batch_size=5, **kwargs):
        result = fj.unlearn(
            kwargs.pop("loss_fn", loss), params, **{**lone_examples, **kwargs},
            method=method, optimizer=SGD, steps=1, batch_size=batch_size, progress=False,
        )  # fmt: skip
        return {name: np.asarray(params[name] - result.params[name]) for name in params}, result

    return step
