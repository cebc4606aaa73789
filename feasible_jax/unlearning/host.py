"""Trees of arrays in the memory of the host, where they take none of a device's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def to_host(tree: Any) -> Any:
    """The tree as NumPy arrays, of random keys their data.

    A run of several processes has arrays that no process holds whole: there it stays as it is.

    >>> to_host({"w": jnp.ones(2)})["w"]
    array([1., 1.], dtype=float32)
    """
    if jax.process_count() > 1:
        return tree
    return jax.tree.map(
        lambda leaf: np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf), tree
    )


def from_host(tree: Any, like: Any) -> Any:
    """What ``to_host`` made, as arrays that lie where those of ``like`` do.

    >>> from_host(to_host(jnp.ones(2)), jnp.zeros(2))
    Array([1., 1.], dtype=float32)
    """
    return jax.tree.map(_placed, tree, like)


def is_key(leaf: Any) -> bool:
    """Whether an array is one of random keys."""
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _placed(leaf: Any, like: jax.Array) -> jax.Array:
    if isinstance(leaf, jax.Array):
        return leaf
    if is_key(like):
        leaf = jax.random.wrap_key_data(jnp.asarray(leaf), impl=jax.random.key_impl(like))
    # What nobody placed stays free to follow its company.
    return jax.device_put(leaf, like.sharding) if like.committed else jnp.asarray(leaf)
