"""Batches drawn inside jit."""

from typing import Any

import jax
import jax.numpy as jnp


def draw_batch(key: jax.Array, examples: Any, batch_size: int) -> Any:
    """A batch drawn independently and with replacement.

    Independent draws are what the standard error ``sqrt(variance / B)`` is exact for, and a batch
    may be larger than the set.

    Args:
      key: a random key.
      examples: a tree of arrays with a leading axis of ``N`` examples.
      batch_size: ``B``.

    Returns:
      The same tree with a leading axis of ``B``.

    >>> import jax, jax.numpy as jnp
    >>> draw_batch(jax.random.key(0), jnp.array([3.0]), 4).tolist()
    [3.0, 3.0, 3.0, 3.0]
    """
    leaves = jax.tree.leaves(examples)
    rows = jax.random.randint(key, (batch_size,), 0, leaves[0].shape[0])
    return jax.tree.map(lambda leaf: jnp.take(leaf, rows, axis=0), examples)
