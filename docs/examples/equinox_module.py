"""Equinox: what is no parameter is None in the tree, and passed over."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from flowers import draw, mean_losses

import feasible_jax as fj

# Stands in for the model that you have trained.
model = eqx.nn.MLP(4, 3, width_size=16, depth=1, activation=jnp.tanh, key=jax.random.key(0))
params, rest = eqx.partition(model, eqx.is_inexact_array)


def loss(params, example):
    """The loss of ONE example."""
    inputs, label = example
    logits = eqx.combine(params, rest)(inputs)
    return optax.softmax_cross_entropy_with_integer_labels(logits, label)


moments = fj.grad_moments(loss)
tx = optax.chain(
    optax.sgd(0.1),
    fj.feasible_updates(decrease=("retain",), increase=("forget",)),
)


@eqx.filter_jit
def step(params, state, key):
    """Climb the forget loss, as far as the retain loss allows."""
    forget, retain, _ = draw(key)
    evidence = {"forget": moments(params, forget), "retain": moments(params, retain)}
    gradient = jax.tree.map(jnp.negative, evidence["forget"].mean)
    updates, state = tx.update(gradient, state, params, **evidence)
    return eqx.apply_updates(params, updates), state


before, state = mean_losses(loss, params), tx.init(params)
for seed in range(10):
    params, state = step(params, state, jax.random.key(seed))
after = mean_losses(loss, params)
kept = float(optax.tree.get(state, "kept"))
print(before, after, kept)
model = eqx.combine(params, rest)
