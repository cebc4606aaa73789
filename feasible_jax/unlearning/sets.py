"""The sets of a run, checked before any work."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.moments.per_example import check_batch
from feasible_jax.unlearning.streams import Stream, first_nan, is_stream

# What NumPy calls the kinds of its dtypes: objects, texts, dates.
_NO_NUMBERS = tuple("OSUMm")


def join_sets(forget: Any, retain: Any, constraint_data: Mapping[str, Any]) -> dict[str, Any]:
    """All sets by name, as JAX arrays, or as a ``Stream`` where batches of them are given.

    Raises:
      ValueError: that names the set, if one is empty or ragged, holds NaN, or has the name of
        another, or if two are one stream.
      TypeError: that names the set, if it holds something that is no array of numbers.

    >>> import numpy as np
    >>> join_sets(np.zeros((0, 2)), np.ones((3, 2)), {})
    Traceback (most recent call last):
    ...
    ValueError: forget set: batch is empty: {'': (0, 2)}; gradients need at least one example.
    """
    for name in ("forget", "retain"):
        if name in constraint_data:
            raise ValueError(f"constraint_data names {name!r}: pass that set as {name}=... alone.")
    given = {"forget": forget, "retain": retain, **constraint_data}
    names: dict[int, str] = {}
    for name, examples in given.items():
        if is_stream(examples) and names.setdefault(id(examples), name) != name:
            raise ValueError(
                f"the {names[id(examples)]} and the {name} set are one and the same stream, which "
                "would give each of its batches to one of them: give each a stream of its own."
            )
    return {
        name: Stream(name, examples) if is_stream(examples) else _checked(name, examples)
        for name, examples in given.items()
    }


def warn_of_shared(data: Mapping[str, Any], stacklevel: int) -> None:
    """Warn if examples of the forget set are in the retain set too, and say how many.

    It is no error, for data may hold two copies of an example of which one is to be forgotten.

    Args:
      data: the sets by name.
      stacklevel: of the warning, 1 for the caller of this function.
    """
    shared, size = shared_examples(data["forget"], data["retain"]), _size(data["forget"])
    if shared:
        warnings.warn(
            f"{shared} of {size} forget examples are also in the retain set, bit for bit: one set "
            "asks for what the other forbids. Take them out of the retain set, unless they are "
            "copies that are meant to stay.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def shared_examples(one: Any, other: Any) -> int:
    """How many examples of a set are, bit for bit, in another one as well.

    Args:
      one: a tree of arrays with a leading axis of examples; best the smaller set.
      other: likewise.

    Returns:
      A number of examples of ``one``; 0 where the two hold examples of different kinds, or are
      spread over several processes.

    >>> import numpy as np
    >>> shared_examples(np.array([[1, 2], [3, 4]]), np.array([[3, 4], [3, 4], [5, 6]]))
    1
    """
    if _kind(one) != _kind(other) or not (_is_here(one) and _is_here(other)):
        return 0
    mine = list(_rows(one))
    wanted = set(mine)
    found = {row for row in _rows(other) if row in wanted}
    return sum(row in found for row in mine)


def _checked(name: str, examples: Any) -> Any:
    for path, leaf in jax.tree_util.tree_leaves_with_path(examples):
        dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
        if getattr(dtype, "kind", "") in _NO_NUMBERS:
            where = f"{name}{jax.tree_util.keystr(path)}"
            raise TypeError(f"{name} set: {where} has dtype {dtype}: give arrays of numbers.")
    try:
        examples = jax.tree.map(jnp.asarray, examples)
        check_batch(examples, None)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name} set: {error}") from error
    for path, leaf in jax.tree_util.tree_leaves_with_path(examples):
        row = first_nan(leaf)
        if row is not None:
            where = f"{name}{jax.tree_util.keystr(path)}[{row}]"
            raise ValueError(f"{name} set: {where} holds NaN: clean or drop that example.")
    return examples


def _rows(examples: Any) -> Iterator[bytes]:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(examples)]
    return (b"".join(part.tobytes() for part in parts) for parts in zip(*leaves, strict=True))


def _kind(examples: Any) -> tuple:
    leaves, structure = jax.tree.flatten(examples)
    return structure, [(leaf.shape[1:], str(leaf.dtype)) for leaf in leaves]


def _size(examples: Any) -> int:
    return len(jax.tree.leaves(examples)[0])


def _is_here(examples: Any) -> bool:
    """Whether this process holds all of the arrays."""
    return all(getattr(x, "is_fully_addressable", True) for x in jax.tree.leaves(examples))
