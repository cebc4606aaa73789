"""Muon and AdamW as bases: the mask tests what they propose, weight decay and all."""

import jax
import jax.numpy as jnp
import optax
from flowers import draw, mean_losses

import feasible_jax as fj

first, second = jax.random.split(jax.random.key(0))
start = {  # stands in for the model that you have trained
    "hidden": {"w": jax.random.normal(first, (4, 16)) / 2, "b": jnp.zeros(16)},
    "head": {"w": jax.random.normal(second, (16, 3)) / 4, "b": jnp.zeros(3)},
}


def loss(params, example):
    """The loss of ONE example."""
    inputs, label = example
    hidden = jnp.tanh(inputs @ params["hidden"]["w"] + params["hidden"]["b"])
    logits = hidden @ params["head"]["w"] + params["head"]["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, label)


moments = fj.grad_moments(loss)


def run(base, steps=10):
    """Climb the forget loss, as far as the retain loss allows."""
    tx = optax.chain(
        base,
        fj.feasible_updates(decrease=("retain",), increase=("forget",)),  # after the base, always
    )

    @jax.jit
    def step(params, state, key):
        forget, retain, _ = draw(key)
        evidence = {"forget": moments(params, forget), "retain": moments(params, retain)}
        gradient = jax.tree.map(jnp.negative, evidence["forget"].mean)
        updates, state = tx.update(gradient, state, params, **evidence)
        return optax.apply_updates(params, updates), state

    params, state = start, tx.init(start)
    for seed in range(steps):
        params, state = step(params, state, jax.random.key(seed))
    return mean_losses(loss, params), float(optax.tree.get(state, "kept"))


before = mean_losses(loss, start)
schedule = optax.warmup_cosine_decay_schedule(0.0, 0.02, warmup_steps=2, decay_steps=10)
found = {
    "muon": run(optax.contrib.muon(0.02)),
    "adamw": run(optax.adamw(schedule, weight_decay=1e-2)),
}
for name, (after, kept) in found.items():
    print(name, before, after, kept)
