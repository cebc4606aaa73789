"""Random parameters for those who cannot say how theirs were initialised."""

from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.precision import accumulation_dtype


def redrawn(params: Any, key: jax.Array) -> Any:
    """Parameters drawn afresh: normal, each leaf with the mean and deviation of its own entries.

    Of what was trained, two numbers a leaf survive, which keep every layer at its scale: weights
    around 0, the scales of a normalisation around 1. It asks nothing about the layout of the
    leaves, unlike an initialisation by the number of a neuron's inputs.

    Args:
      params: a tree of arrays.
      key: a random key.

    Returns:
      A tree of the same shapes and dtypes; leaves that are no floats are kept.

    >>> drawn = redrawn({"scale": jnp.ones(3), "kernel": jnp.eye(3)}, jax.random.key(0))
    >>> drawn["scale"].tolist(), bool((drawn["kernel"] != jnp.eye(3)).all())
    ([1.0, 1.0, 1.0], True)
    """
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten([_redraw(*pair) for pair in zip(leaves, keys, strict=True)])


def _redraw(leaf: jax.Array, key: jax.Array) -> jax.Array:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    wide = leaf.astype(accumulation_dtype(leaf))
    drawn = wide.mean() + wide.std() * jax.random.normal(key, leaf.shape, wide.dtype)
    return drawn.astype(leaf.dtype)
