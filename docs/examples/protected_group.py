"""A constraint of one's own: a group that must not fare worse, beside retain and forget."""

import jax
import jax.numpy as jnp
import optax
from flowers import forget, mean_losses, retain

import feasible_jax as fj


def loss(weights, example):
    """The loss of ONE example."""
    inputs, label = example
    return optax.softmax_cross_entropy_with_integer_labels(inputs @ weights, label)


weights = jax.random.normal(jax.random.key(0), (4, 3)) / 2  # stand in for trained ones
# The group: flowers with the widest sepals. Any rule will do that needs no outcome to apply.
wide = jnp.argsort(-retain[0][:, 1])[:30]
group = jax.tree.map(lambda part: part[wide], retain)

result = fj.unlearn(
    loss,
    weights,
    forget=forget,
    retain=retain,
    constraint_data={"group": group},
    method=fj.methods.gradient_ascent(),
    optimizer=optax.sgd(0.1),
    feasibility=optax.chain(
        fj.feasible_updates(decrease=("retain", "group"), increase=("forget",)),
        fj.certify_updates(decrease=("retain", "group")),
    ),
    steps=20,
)
before = mean_losses(loss, weights, group=group)
after = mean_losses(loss, result.params, group=group)
print(before, after)
print({name: float(rate.mean()) for name, rate in result.history.pass_rate.items()})
