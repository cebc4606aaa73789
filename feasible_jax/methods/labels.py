"""How a method reads an example, and what it writes in the place of its label."""

from typing import Any

import jax
import jax.numpy as jnp


def inputs_of_pair(example: Any) -> jax.Array:
    """The inputs of an example that is a pair ``(inputs, label)``, as ``Examples`` is."""
    return example[0]


def label_of_pair(example: Any) -> jax.Array:
    """The label of an example that is a pair ``(inputs, label)``, as ``Examples`` is."""
    return example[1]


def relabel_pair(example: Any, label: jax.Array) -> Any:
    """The same pair with another label."""
    inputs, _ = example
    rest = (inputs, label)
    return type(example)(*rest) if hasattr(example, "_fields") else rest


def draw_wrong_label(key: jax.Array, label: jax.Array, num_classes: int) -> jax.Array:
    """A class drawn uniformly from all but one.

    Args:
      key: a random key.
      label: the class that is not drawn, an integer scalar. A label that is no class, such as the
        -100 by which some losses tell what to ignore, is returned as it is.
      num_classes: the number of classes, at least 2.

    Returns:
      A scalar of the label's dtype.

    >>> {int(draw_wrong_label(jax.random.key(i), jnp.array(1), 3)) for i in range(20)}
    {0, 2}
    """
    # In 32 bits, where the sum of a label and a shift cannot wrap around as it may in 8.
    wide = label.astype(jnp.int32)
    shift = jax.random.randint(key, (), 1, num_classes, jnp.int32)
    is_class = (wide >= 0) & (wide < num_classes)
    return jnp.where(is_class, (wide + shift) % num_classes, wide).astype(label.dtype)


def check_num_classes(num_classes: int) -> None:
    """Raise a ``ValueError`` where there are too few classes for one to be wrong."""
    if num_classes < 2:
        raise ValueError(f"num_classes={num_classes}: a wrong label needs at least 2 classes.")
