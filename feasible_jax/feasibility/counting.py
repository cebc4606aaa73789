"""How much passes: sums of several masks in one pass over the memory."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def count_each(*masks: Sequence[jax.Array]) -> tuple[list[jax.Array], ...]:
    """For each mask its sum in each leaf.

    All masks of a leaf are summed in one reduction along the rows, which XLA fuses with whatever
    makes them: summed one by one on a CPU, every mask is written to memory and read again.

    Args:
      *masks: sequences of arrays, one for each leaf, booleans or parts in [0, 1]; the masks of one
        leaf broadcast to one shape.

    Returns:
      For each mask a list of float32 scalars, one for each leaf.

    >>> import jax.numpy as jnp
    >>> kept, passed = count_each([jnp.array([True, False])], [jnp.array([True, True])])
    >>> [float(k) for k in kept], [float(p) for p in passed]
    ([1.0], [2.0])
    """
    leaves = [_sums(leaf) for leaf in zip(*masks, strict=True)]
    return tuple([leaf[i] for leaf in leaves] for i in range(len(masks)))


def _sums(arrays: tuple[jax.Array, ...]) -> list[jax.Array]:
    shape = jnp.broadcast_shapes(*(array.shape for array in arrays))
    # Rows are counted as integers, exactly; whole leaves can hold more than an int32.
    terms = [
        jnp.broadcast_to(array.astype(jnp.int32 if array.dtype == bool else jnp.float32), shape)
        for array in map(jax.lax.stop_gradient, arrays)
    ]
    if shape:
        zeros = [jnp.zeros((), term.dtype) for term in terms]
        terms = jax.lax.reduce(terms, zeros, _add, dimensions=(len(shape) - 1,))
    return [jnp.sum(term, dtype=jnp.float32) for term in terms]


def _add(some: Sequence[jax.Array], more: Sequence[jax.Array]) -> list[jax.Array]:
    return [a + b for a, b in zip(some, more, strict=True)]
