"""Batches: drawn inside jit from sets in memory, or handed in."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from feasible_jax.moments.shards import Spread, automatic, by_shard, spread_of


class Layout(NamedTuple):
    """How the batches of a run lie on a mesh.

    Attributes:
      batches: how the examples of every batch are spread.
      spread_sets: names of the sets whose examples are spread likewise; others are whole on every
        device.
    """

    batches: NamedSharding
    spread_sets: frozenset[str]

    @property
    def spread(self) -> Spread:
        """The mesh and its axes."""
        (entry,) = self.batches.spec
        return Spread(self.batches.mesh, entry if isinstance(entry, tuple) else (entry,))


class Drawn(NamedTuple):
    """The batches of one step, of a set that is not in memory.

    Attributes:
      choosing: what the update is chosen by, or None.
      certifying: what certifies it, other examples; or None.
    """

    choosing: Any
    certifying: Any


def draw_batch(
    key: jax.Array,
    examples: Any,
    batch_size: int,
    batch_sharding: NamedSharding | None = None,
    is_spread: bool = False,
) -> Any:
    """A batch drawn independently and with replacement.

    Independent draws are what the standard error ``sqrt(variance / B)`` is exact for, and a batch
    may be larger than the set. On a mesh the same examples are drawn as on one device; the batch
    alone crosses the mesh, however large the set.

    Args:
      key: a random key.
      examples: a tree of arrays with a leading axis of ``N`` examples.
      batch_size: ``B``.
      batch_sharding: how the batch is to be spread over a mesh, None for one device.
      is_spread: whether the set is spread likewise, or else whole on every device.

    Returns:
      The same tree with a leading axis of ``B``.

    >>> import jax, jax.numpy as jnp
    >>> draw_batch(jax.random.key(0), jnp.array([3.0]), 4).tolist()
    [3.0, 3.0, 3.0, 3.0]
    """
    leaves = jax.tree.leaves(examples)
    rows = jax.random.randint(key, (batch_size,), 0, leaves[0].shape[0])
    spread = None if batch_sharding is None else spread_of(rows, batch_sharding)
    if spread is None:
        return _take(rows, examples)
    if not is_spread:
        return by_shard(partial(_own_part, spread), spread, True)((rows, examples))
    take = by_shard(partial(_own_rows, spread), spread, True)
    others = tuple(name for name in spread.mesh.axis_names if name not in spread.axes)
    if others:  # JAX 0.12 cannot scatter a sum beside axes that are explicit
        take = automatic(take, spread.sharding(rows=True), others)
    return take(rows, examples)


def _take(rows: jax.Array, examples: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.take(leaf, rows, axis=0), examples)


def _own_part(spread: Spread, whole: tuple[jax.Array, Any]) -> Any:
    """From a set that is whole here, the rows of this shard's part of the batch."""
    rows, examples = whole
    size = rows.shape[0] // spread.shards
    first = jax.lax.axis_index(spread.axes) * size
    return _take(jax.lax.dynamic_slice_in_dim(rows, first, size), examples)


def _own_rows(spread: Spread, rows: jax.Array, examples: Any) -> Any:
    """What is here of the rows asked for, handed to the shards in whose part of the batch they are.

    Everybody else has zeros in their place, so that a sum over the shards moves them.
    """
    here = jax.tree.leaves(examples)[0].shape[0]
    rows = rows - jax.lax.axis_index(spread.axes) * here
    mine = (rows >= 0) & (rows < here)

    def hand_over(leaf):
        found = jnp.take(leaf, jnp.clip(rows, 0, here - 1), axis=0)
        bits = found.astype(jnp.uint8) if found.dtype == bool else found
        mask = mine.reshape((-1,) + (1,) * (found.ndim - 1))
        bits = jnp.where(mask, bits, jnp.zeros_like(bits))
        part = jax.lax.psum_scatter(bits, spread.axes, scatter_dimension=0, tiled=True)
        return part.astype(found.dtype)

    return jax.tree.map(hand_over, examples)
