"""What tells one tree of arrays from another, however its arrays are spread over devices."""

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.unlearning.processes import summed

_BLOCK = 2**20  # numbers at a time
_ODD, _OTHER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)


def fingerprint(tree: Any) -> str:
    """A digest of the structure and the content of a tree of arrays.

    A guard against mistakes, not against malice: contents are told apart by a sum over their
    numbers, each mixed with its place, which every process takes over what it holds.

    >>> fingerprint({"w": np.zeros(2)}) == fingerprint({"w": np.ones(2)})
    False
    """
    kinds, sums = [], [np.zeros(2, np.uint32)]
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        kinds.append(f"{jax.tree_util.keystr(path)} {jnp.shape(leaf)} {leaf.dtype}")
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        leaf = jax.random.key_data(leaf) if is_key else leaf
        sums.append(sum((_mixed(*part) for part in _parts_here(leaf)), np.zeros(2, np.uint32)))
    digest = hashlib.sha256("\n".join(kinds).encode())
    digest.update(summed(np.stack(sums)).tobytes())
    return digest.hexdigest()[:16]


def _parts_here(leaf: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What this process answers for of a leaf, and the places of its numbers, both flat."""
    shape = jnp.shape(leaf)
    if not getattr(leaf, "is_fully_addressable", True):
        shards = [shard for shard in leaf.addressable_shards if shard.replica_id == 0]
        parts = [(np.asarray(shard.data), shard.index) for shard in shards]
    else:  # every process has it: one answers for it
        first = jax.process_index() == 0
        parts = [(np.asarray(leaf), (slice(None),) * len(shape))] if first else []
    for part, index in parts:
        places = np.zeros((), np.uint64)
        for d, size in enumerate(part.shape):
            along = np.arange(size, dtype=np.uint64) + np.uint64(index[d].start or 0)
            step = np.uint64(math.prod(shape[d + 1 :]))
            places = places[..., None] + along * step
        yield part.reshape(-1), places.reshape(-1)


def _mixed(numbers: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Two sums, modulo ``2^32``: the same in whatever order, and over whatever parts."""
    total = np.zeros(2, np.uint32)
    if not numbers.size:
        return total
    bits = numbers.view(f"u{min(numbers.itemsize, 8)}").reshape(numbers.size, -1)
    columns = _OTHER * np.arange(1, 2 * bits.shape[1], 2, dtype=np.uint64)
    for start in range(0, numbers.size, _BLOCK):
        here = slice(start, start + _BLOCK)
        word = np.bitwise_xor.reduce(
            (bits[here].astype(np.uint64) + np.uint64(1)) * columns, axis=1
        )
        word ^= places[here] * _ODD
        word = (word ^ (word >> np.uint64(29))) * _OTHER
        total += (
            (word ^ (word >> np.uint64(32))).view(np.uint32).reshape(-1, 2).sum(0, dtype=np.uint32)
        )
    return total
