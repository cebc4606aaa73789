"""The gradient over a whole set, a batch at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.precision import accumulation_dtype


def summed_gradient(
    loss_fn: Callable[[Any, Any], jax.Array], params: Any, examples: Any, batch_size: int = 64
) -> Any:
    """``sum_n grad loss(params, example_n)``, over every example once.

    Args:
      loss_fn: ``(params, example) -> scalar``, the loss of ONE example.
      params: the parameters.
      examples: a tree of arrays with a leading axis of examples.
      batch_size: how many examples are held at once.

    Returns:
      A tree like the parameters, in float32 or wider.

    >>> loss = lambda w, x: w * x
    >>> float(summed_gradient(loss, jnp.array(1.0), jnp.arange(5.0), batch_size=2))
    10.0
    """
    size = jax.tree.leaves(examples)[0].shape[0]
    whole = size // batch_size

    def gradient(batch):
        def loss(params):
            return jnp.sum(jax.vmap(loss_fn, in_axes=(None, 0))(params, batch))

        return jax.tree.map(lambda g: g.astype(accumulation_dtype(g)), jax.grad(loss)(params))

    def add(total, batch):
        return jax.tree.map(jnp.add, total, gradient(batch)), None

    total = jax.tree.map(lambda p: jnp.zeros(p.shape, accumulation_dtype(p)), params)
    if whole:
        batches = jax.tree.map(
            lambda leaf: leaf[: whole * batch_size].reshape(whole, batch_size, *leaf.shape[1:]),
            examples,
        )
        total, _ = jax.lax.scan(add, total, batches)
    if size % batch_size:
        total, _ = add(total, jax.tree.map(lambda leaf: leaf[whole * batch_size :], examples))
    return total
