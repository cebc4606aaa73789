"""Flax NNX: `nnx.Optimizer.update` hands evidence on."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from flowers import draw, mean_losses

import feasible_jax as fj


class Classifier(nnx.Module):
    """Stands in for the model that you have trained."""

    def __init__(self, rngs):
        self.hidden = nnx.Linear(4, 16, rngs=rngs)
        self.head = nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, x):
        """Logits."""
        return self.head(nnx.tanh(self.hidden(x)))


model = Classifier(nnx.Rngs(0))
graph, params = nnx.split(model, nnx.Param)


def loss(params, example):
    """The loss of ONE example, a function of the parameters alone."""
    inputs, label = example
    logits = nnx.merge(graph, params)(inputs)
    return optax.softmax_cross_entropy_with_integer_labels(logits, label)


moments = fj.grad_moments(loss)
tx = optax.chain(
    optax.sgd(0.1),
    fj.feasible_updates(decrease=("retain",), increase=("forget",)),
    fj.certify_updates(decrease=("retain",)),
)
optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)


@nnx.jit
def step(model, optimizer, key):
    """Climb the forget loss, as far as the retain loss allows."""
    forget, retain, fresh = draw(key)
    params = nnx.state(model, nnx.Param)
    evidence = {"forget": moments(params, forget), "retain": moments(params, retain)}
    gradient = jax.tree.map(jnp.negative, evidence["forget"].mean)
    optimizer.update(model, gradient, **evidence, retain_change=fj.loss_change(loss, fresh))


before = mean_losses(loss, params)
for seed in range(10):
    step(model, optimizer, jax.random.key(seed))
after = mean_losses(loss, nnx.state(model, nnx.Param))
kept = float(optax.tree.get(optimizer.opt_state, "kept")[...])
print(before, after, kept)
