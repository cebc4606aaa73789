"""Gradients as directions: unit vectors, whatever the scale."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from feasible_jax.moments.precision import accumulation_dtype


class Direction(NamedTuple):
    """A tree as ``norm * unit``.

    Attributes:
      unit: a tree of norm 1, float32 or wider; of zeros where the tree is 0.
      norm: its Euclidean norm, a scalar.

    >>> direction_of(jnp.array([3.0, -4.0])).norm.item()
    5.0
    """

    unit: Any
    norm: jax.Array


def direction_of(tree: Any) -> Direction:
    """The direction and the length of a tree of arrays.

    Its largest entry is taken out first, so that no square of a tiny or a huge entry leaves the
    range of its dtype.

    >>> tiny = direction_of({"w": jnp.array([3e-30, 4e-30])})
    >>> [round(x, 2) for x in tiny.unit["w"].tolist()]
    [0.6, 0.8]
    """
    tree = optax.tree.cast(tree, accumulation_dtype(*jax.tree.leaves(tree)))
    peak = jnp.asarray(optax.tree.max(jax.tree.map(jnp.abs, tree)))
    tree = jax.tree.map(lambda leaf: leaf / jnp.where(peak > 0, peak, 1), tree)
    norm = jnp.asarray(optax.tree.norm(tree))
    unit = jax.tree.map(lambda leaf: leaf / jnp.where(norm > 0, norm, 1), tree)
    return Direction(unit, norm * peak)


def add_scaled(a: Any, scale: Any, b: Any) -> Any:
    """``a + scale * b``, leaf by leaf.

    >>> add_scaled(jnp.array([1.0, 2.0]), 2.0, jnp.array([0.0, 1.0])).tolist()
    [1.0, 4.0]
    """
    return jax.tree.map(lambda x, y: x + jnp.asarray(scale, x.dtype) * y, a, b)
