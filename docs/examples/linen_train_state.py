"""Flax Linen: a `TrainState` that hands evidence on."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.training.train_state import TrainState
from flowers import draw, mean_losses

import feasible_jax as fj


class FeasibleTrainState(TrainState):
    """Flax's own drops the extra arguments of `update`."""

    def apply_gradients(self, *, grads, evidence, **kwargs):
        """As in Flax, with a dict of evidence by name."""
        updates, opt_state = self.tx.update(grads, self.opt_state, self.params, **evidence)
        params = optax.apply_updates(self.params, updates)
        return self.replace(step=self.step + 1, params=params, opt_state=opt_state, **kwargs)


model = nn.Sequential([nn.Dense(16), nn.tanh, nn.Dense(3)])
state = FeasibleTrainState.create(
    apply_fn=model.apply,
    params=model.init(jax.random.key(0), jnp.zeros(4))["params"],  # or those that you have trained
    tx=optax.chain(
        optax.sgd(0.1),
        fj.feasible_updates(decrease=("retain",), increase=("forget",)),
    ),
)


def loss(params, example):
    """The loss of ONE example."""
    inputs, label = example
    logits = model.apply({"params": params}, inputs)
    return optax.softmax_cross_entropy_with_integer_labels(logits, label)


moments = fj.grad_moments(loss)


@jax.jit
def step(state, key):
    """Climb the forget loss, as far as the retain loss allows."""
    forget, retain, _ = draw(key)
    evidence = {"forget": moments(state.params, forget), "retain": moments(state.params, retain)}
    gradient = jax.tree.map(jnp.negative, evidence["forget"].mean)
    return state.apply_gradients(grads=gradient, evidence=evidence)


before = mean_losses(loss, state.params)
for seed in range(10):
    state = step(state, jax.random.key(seed))
after = mean_losses(loss, state.params)
kept = float(optax.tree.get(state.opt_state, "kept"))
print(before, after, kept)
