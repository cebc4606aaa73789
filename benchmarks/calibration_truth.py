"""The truth about an update: what it does to every example of the whole retain set."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import feasible_jax as fj

_AT_ONCE = 256

_change = jax.jit(lambda change, params, updates: change(params, updates))


def changes(task: fj.Task, params: Any, updates: Any, first_order: bool = False) -> np.ndarray:
    """The change of the loss of every retained example, or its directional derivative."""
    make = fj.directional_derivatives if first_order else fj.loss_change
    parts = [_change(make(task.loss_fn, part), params, updates) for part in _parts(task)]
    return np.concatenate([np.asarray(part, np.float64) for part in parts])


def gradient(task: fj.Task, params: Any) -> Any:
    """The gradient of the mean loss of the retain set, in float64."""
    total = None
    for part in _parts(task):
        grad = jax.tree.map(
            lambda g: np.asarray(g, np.float64), _gradient(task.loss_fn)(params, part)
        )
        total = grad if total is None else jax.tree.map(np.add, total, grad)
    return jax.tree.map(lambda g: g / len(task.retain.labels), total)


def _gradient(loss_fn: Any) -> Any:
    return _gradients.setdefault(loss_fn, jax.jit(jax.grad(_summed(loss_fn))))


_gradients: dict[Any, Any] = {}


def _summed(loss_fn: Any) -> Any:
    return lambda params, batch: jnp.sum(jax.vmap(loss_fn, in_axes=(None, 0))(params, batch))


def _parts(task: fj.Task) -> Iterator[Any]:
    for start in range(0, len(task.retain.labels), _AT_ONCE):
        yield jax.tree.map(lambda x: x[start : start + _AT_ONCE], task.retain)  # noqa: B023
