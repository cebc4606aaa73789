"""Evidence over microbatches: `accumulate_evidence` where one would use `optax.MultiSteps`."""

import jax
import jax.numpy as jnp
import optax
from flowers import draw, mean_losses

import feasible_jax as fj


def loss(weights, example):
    """The loss of ONE example."""
    inputs, label = example
    return optax.softmax_cross_entropy_with_integer_labels(inputs @ weights, label)


moments = fj.grad_moments(loss)
tx = fj.accumulate_evidence(
    optax.chain(
        optax.sgd(0.1),
        fj.feasible_updates(decrease=("retain",), increase=("forget",)),
        fj.certify_updates(decrease=("retain",)),
    ),
    every_k_schedule=4,
)


@jax.jit
def step(weights, state, key):
    """One microbatch; the weights move at every fourth."""
    forget, retain, fresh = draw(key)
    evidence = {"forget": moments(weights, forget), "retain": moments(weights, retain)}
    evidence["retain_change"] = fj.loss_change(loss, fresh)  # tested with at every fourth
    updates, state = tx.update(-evidence["forget"].mean, state, weights, **evidence)
    return optax.apply_updates(weights, updates), state


weights = jax.random.normal(jax.random.key(0), (4, 3)) / 2  # stand in for trained ones
before, state, moved = mean_losses(loss, weights), tx.init(weights), []
for seed in range(12):
    last = weights
    weights, state = step(weights, state, jax.random.key(seed))
    moved.append(bool(jnp.any(weights != last)))
after = mean_losses(loss, weights)
kept = float(optax.tree.get(state, "kept"))
print(before, after, kept, moved)
