"""A task of one's own: a classifier of digits that has to forget 100 of its training images."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import feasible_jax as fj


def predict(params, inputs):
    """Logits (B, 10) of inputs (B, 64)."""
    hidden = jax.nn.relu(inputs @ params["hidden"]["w"] + params["hidden"]["b"])
    return hidden @ params["head"]["w"] + params["head"]["b"]


def loss(params, example):
    """The cross-entropy of ONE example."""
    logits = predict(params, example.inputs[None])[0]
    return optax.softmax_cross_entropy_with_integer_labels(logits, example.labels)


def train(examples, steps=400, batch_size=128, seed=0):
    """Train from scratch; the same seed gives the same parameters."""
    first, second = jax.random.split(jax.random.key(seed))
    params = {
        "hidden": {"w": jax.random.normal(first, (64, 64)) / 8, "b": jnp.zeros(64)},
        "head": {"w": jax.random.normal(second, (64, 10)) / 8, "b": jnp.zeros(10)},
    }
    optimizer = optax.adam(1e-2)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, batch):
        def mean_loss(params):
            return jax.vmap(loss, in_axes=(None, 0))(params, batch).mean()

        updates, state = optimizer.update(jax.grad(mean_loss)(params), state)
        return optax.apply_updates(params, updates), state

    rng = np.random.default_rng(seed)
    for _ in range(steps):
        rows = rng.integers(0, count(examples), batch_size)
        params, state = step(params, state, take(examples, rows))
    return params


def count(examples):
    """The number of examples."""
    return len(examples.labels)


def take(examples, rows):
    """Some of the examples."""
    return fj.Examples(examples.inputs[rows], examples.labels[rows])


def make_task():
    """What `feasible-jax unlearn --task my_task:make_task` calls."""
    images, labels = load_digits(return_X_y=True)
    everything = fj.Examples((images / 16).astype(np.float32), labels.astype(np.int32))
    rows = np.random.default_rng(0).permutation(count(everything))
    forget, retain, validation, test = (
        take(everything, part) for part in np.split(rows, [100, 1000, 1400])
    )
    return fj.Task(
        name="my digits",
        loss_fn=loss,
        predict_fn=predict,
        params=train(take(everything, rows[:1000])),
        forget=forget,
        retain=retain,
        validation=validation,
        test=test,
        num_classes=10,
        retrained=train(retain),
    )
