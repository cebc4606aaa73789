"""The truth about an update: what it does to every example of the whole retain set."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import feasible_jax as fj

# As many as fit a cache.
_AT_ONCE = 128

_change = jax.jit(lambda change, params, updates: change(params, updates))


def changes(task: fj.Task, params: Any, updates: Any, first_order: bool = False) -> np.ndarray:
    """The change of the loss of every retained example, or its directional derivative."""
    make = fj.directional_derivatives if first_order else fj.loss_change
    parts = [_change(make(task.loss_fn, part), params, updates) for part in _parts(task)]
    return np.concatenate([np.asarray(part, np.float64) for part in parts])


def losses(task: fj.Task, params: Any) -> np.ndarray:
    """The loss of every retained example, rounded as ``loss_change`` has it."""
    parts = [_losses(task.loss_fn)(params, part) for part in _parts(task)]
    return np.concatenate([np.asarray(part, np.float64) for part in parts])


def gradient(task: fj.Task, params: Any) -> Any:
    """The gradient of the mean loss of the retain set, in float64."""
    total = jax.tree.map(lambda p: np.zeros(p.shape), params)
    for part in _parts(task):
        total = jax.tree.map(np.add, total, _gradient(task.loss_fn)(params, part))
    return jax.tree.map(lambda g: g / len(task.retain.labels), total)


def per_example_gradients(task: fj.Task, params: Any) -> np.ndarray:
    """``(N, P)``, float32: that of every retained example, flat."""
    parts = [_per_example(task.loss_fn)(params, part) for part in _parts(task)]
    return np.concatenate([np.asarray(part) for part in parts])


@cache
def _per_example(loss_fn: Callable) -> Callable:
    flat = lambda params, example: ravel_pytree(jax.grad(loss_fn)(params, example))[0]  # noqa: E731
    return jax.jit(jax.vmap(flat, in_axes=(None, 0)))


@cache
def _losses(loss_fn: Callable) -> Callable:
    return jax.jit(jax.vmap(loss_fn, in_axes=(None, 0)))


@cache
def _gradient(loss_fn: Callable) -> Callable:
    return jax.jit(jax.grad(lambda params, batch: jnp.sum(_losses(loss_fn)(params, batch))))


def _parts(task: fj.Task) -> Iterator[Any]:
    inputs, labels = task.retain
    for start in range(0, len(labels), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        yield fj.Examples(inputs[some], labels[some])
