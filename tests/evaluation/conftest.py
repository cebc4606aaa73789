"""A model that memorised its training set, and one that never saw the part to forget."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.unlearning.task import Examples, Task

FEATURES, CLASSES = 100, 3


def predict_linear(params, inputs):
    return inputs @ params


def linear_loss(params, example):
    logits = predict_linear(params, example.inputs)
    return jax.nn.logsumexp(logits) - logits[example.labels]


@jax.jit
def fit(examples):
    def loss(params):
        return jax.vmap(linear_loss, (None, 0))(params, examples).mean()

    start = jnp.zeros((FEATURES, CLASSES))
    return jax.lax.fori_loop(0, 400, lambda _, p: p - 2.0 * jax.grad(loss)(p), start)


@pytest.fixture(scope="session")
def memorised():
    """Random labels and more features than examples: what is known of them is memory alone."""
    rng = np.random.default_rng(0)
    sizes = {"forget": 30, "retain": 60, "validation": 50, "test": 80}
    sets = {
        name: Examples(
            rng.normal(size=(n, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, n)
        )
        for name, n in sizes.items()
    }
    everything = jax.tree.map(lambda *a: np.concatenate(a), sets["forget"], sets["retain"])
    return Task(
        "memorised",
        linear_loss,
        predict_linear,
        fit(everything),
        **sets,
        num_classes=CLASSES,
        retrained=fit(sets["retain"]),
    )
