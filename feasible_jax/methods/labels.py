"""How a method reads and replaces the label of an example."""

from typing import Any

import jax


def label_of_pair(example: Any) -> jax.Array:
    """The label of an example that is a pair ``(inputs, label)``, as ``Examples`` is."""
    return example[1]


def relabel_pair(example: Any, label: jax.Array) -> Any:
    """The same pair with another label."""
    inputs, _ = example
    rest = (inputs, label)
    return type(example)(*rest) if hasattr(example, "_fields") else rest
