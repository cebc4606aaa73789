"""What the recipes work on: Fisher's irises, of which thirty carry a wrong label."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_iris

inputs, labels = load_iris(return_X_y=True)
inputs = ((inputs - inputs.mean(0)) / inputs.std(0)).astype(np.float32)
rows = np.random.default_rng(0).permutation(150)
forget = (jnp.asarray(inputs[rows[:30]]), jnp.asarray((labels[rows[:30]] + 1) % 3))
retain = (jnp.asarray(inputs[rows[30:]]), jnp.asarray(labels[rows[30:]]))


def draw(key):
    """A batch of each set, and one that certifies, drawn apart."""

    def batch(key, examples):
        picked = jax.random.randint(key, (64,), 0, len(examples[1]))
        return jax.tree.map(lambda part: part[picked], examples)

    keys = jax.random.split(key, 3)
    return batch(keys[0], forget), batch(keys[1], retain), batch(keys[2], retain)


def mean_losses(loss, params, **others):
    """The loss of both sets, and of others by name."""
    sets = {"forget": forget, "retain": retain, **others}
    found = _mean_losses(loss, params, sets)
    return {name: round(float(value), 3) for name, value in found.items()}


@partial(jax.jit, static_argnums=0)
def _mean_losses(loss, params, sets):
    losses = jax.vmap(loss, in_axes=(None, 0))
    return {name: losses(params, examples).mean() for name, examples in sets.items()}
