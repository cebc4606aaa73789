"""Sets that come as batches, one after another: from a generator, a loader, a pipeline."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.moments.per_example import check_batch


def is_stream(given: Any) -> bool:
    """Whether a set is given as something that yields its batches, and not as arrays.

    Trees of arrays are sets in memory, lists and tuples among them.

    >>> is_stream(iter([np.ones(3)])), is_stream([np.ones(3)]), is_stream(np.ones(3))
    (True, False, False)
    """
    is_leaf = jax.tree_util.all_leaves([given])
    is_array = hasattr(given, "shape") or isinstance(given, str | bytes)
    return is_leaf and isinstance(given, Iterable) and not is_array


class StreamEnded(Exception):
    """A stream has no more batches."""


class Stream:
    """The batches of one set, in their order.

    What begins anew each time that it is iterated over, such as a loader, is read again when it has
    come to its end; an iterator, such as a generator, ends.

    Args:
      name: of the set.
      batches: yields trees of arrays with a leading axis of examples, all of one shape.

    >>> stream = Stream("retain", iter([np.ones((2, 1)), np.zeros((2, 1))]))
    >>> stream.peek().tolist(), stream.take().tolist(), stream.take().tolist(), stream.taken
    ([[1.0], [1.0]], [[1.0], [1.0]], [[0.0], [0.0]], 2)
    """

    def __init__(self, name: str, batches: Iterable[Any]):
        self.name, self.taken = name, 0
        self._iterator = iter(batches)
        self._again = None if self._iterator is batches else batches
        self._peeked: Any = None
        self._kind: Any = None

    def peek(self) -> Any:
        """The batch that ``take`` gives next."""
        if self._peeked is None:
            self._peeked = self._read()
        return self._peeked

    def take(self) -> Any:
        """The next batch, of JAX arrays where it came as such, and NumPy arrays of our own.

        Raises:
          StreamEnded: if there is none.
          ValueError: if it is no batch, of another shape than those before, or holds NaN.
        """
        batch, self._peeked = self.peek(), None
        self.taken += 1
        return batch

    def skip(self, number: int) -> None:
        """Leave batches out, as of the steps that a resumed run has taken already."""
        for _ in range(number):
            if self._peeked is None:
                self._next()
            self._peeked = None
            self.taken += 1

    def _read(self) -> Any:
        batch = jax.tree.map(_own, self._next())
        where = f"{self.name} stream, batch {self.taken + 1}"
        try:
            check_batch(batch, None)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        leaves, structure = jax.tree.flatten(batch)
        kind = structure, tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
        self._kind = self._kind or kind
        if kind != self._kind:
            raise ValueError(
                f"{where}: its arrays are {kind[1]} in {kind[0]}, those before it {self._kind[1]} "
                f"in {self._kind[0]}, and a step is compiled for one shape. Leave out a last batch "
                "that is smaller, or fill it up."
            )
        for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
            # What is on a device already is not fetched back to be looked at.
            row = first_nan(leaf) if isinstance(leaf, np.ndarray) else None
            if row is not None:
                place = f"{self.name}{jax.tree_util.keystr(path)}[{row}]"
                raise ValueError(f"{where}: {place} holds NaN: clean or drop that example.")
        return batch

    def _next(self) -> Any:
        for _ in range(2):
            try:
                return next(self._iterator)
            except StopIteration:
                if self._again is None:
                    break
                self._iterator = iter(self._again)
        raise StreamEnded(f"the {self.name} stream ended after {self.taken} batches")


def first_batches(streams: Mapping[str, Stream]) -> dict[str, Any]:
    """The batch that each stream gives next.

    Raises:
      ValueError: if one has none, or gives something else.
    """
    try:
        return {name: stream.peek() for name, stream in streams.items()}
    except StreamEnded as error:
        raise ValueError(f"{error}: give it some.") from error


def first_nan(leaf: Any) -> int | None:
    """The first example of an array that holds NaN, None where none does, or it is elsewhere.

    >>> first_nan(np.array([[1.0], [np.nan]]))
    1
    """
    is_here = getattr(leaf, "is_fully_addressable", True)
    if not is_here or not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return None
    rows = np.isnan(np.asarray(leaf)).reshape(len(leaf), -1).any(axis=1)
    return int(rows.argmax()) if rows.any() else None


def _own(leaf: Any) -> Any:
    """An array that nobody changes later: a loader may fill its buffers anew."""
    if isinstance(leaf, jax.Array):
        return leaf
    leaf = np.array(leaf)
    return leaf.astype(jax.dtypes.canonicalize_dtype(leaf.dtype), copy=False)
