"""LoRA: adapters are trained, and masked, over weights that stay frozen."""

import jax
import jax.numpy as jnp
import optax
from flowers import draw, mean_losses

import feasible_jax as fj

keys = jax.random.split(jax.random.key(0), 4)
# Stand in for the weights that you have trained.
frozen = [jax.random.normal(keys[0], (4, 64)) / 2, jax.random.normal(keys[1], (64, 3)) / 8]
adapters = [
    {"down": jax.random.normal(key, (w.shape[0], 2)), "up": jnp.zeros((2, w.shape[1]))}
    for key, w in zip(keys[2:], frozen, strict=True)
]


def loss(adapters, frozen, example):
    """The loss of ONE example."""
    hidden, label = example
    for i, (weight, low) in enumerate(zip(frozen, adapters, strict=True)):
        hidden = jnp.tanh(hidden) if i else hidden
        hidden = hidden @ weight + hidden @ low["down"] @ low["up"]
    return optax.softmax_cross_entropy_with_integer_labels(hidden, label)


tx = optax.chain(
    optax.sgd(0.02),
    fj.feasible_updates(decrease=("retain",), increase=("forget",)),
)


@jax.jit
def step(adapters, state, frozen, key):
    """The frozen weights are an argument: captured, they would be constants of the program."""

    def of_adapters(adapters, example):
        return loss(adapters, frozen, example)

    forget, retain, _ = draw(key)
    moments = fj.grad_moments(of_adapters)  # differentiates the adapters alone
    evidence = {"forget": moments(adapters, forget), "retain": moments(adapters, retain)}
    gradient = jax.tree.map(jnp.negative, evidence["forget"].mean)
    updates, state = tx.update(gradient, state, adapters, **evidence)
    return optax.apply_updates(adapters, updates), state


def now(adapters, example):
    """The loss, for a look from outside."""
    return loss(adapters, frozen, example)


before, state = mean_losses(now, adapters), tx.init(adapters)
for seed in range(10):
    adapters, state = step(adapters, state, frozen, jax.random.key(seed))
after = mean_losses(now, adapters)
kept = float(optax.tree.get(state, "kept"))
print(before, after, kept)
