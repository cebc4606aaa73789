"""Many steps at a time: a scan where that is fast, single dispatches where it is not."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.unlearning.step import LoopState, Record


def make_chunk(step: Callable, length: int, example_args: tuple) -> Callable:
    """A function that takes ``length`` steps, ``(state, data, original, steps)``.

    The steps run under one ``lax.scan``, except where convolutions would run on a CPU: inside a
    loop XLA compiles them to code several times slower than outside one, so there the jitted step
    is dispatched from Python.

    Args:
      step: from ``make_step``.
      length: steps a chunk.
      example_args: ``(state, data, original, steps)``, arrays or their shapes.

    Returns:
      A function of the same arguments that returns ``(state, records)``, records stacked.
    """
    jitted = jax.jit(step)
    on_cpu = jax.default_backend() == "cpu"
    if on_cpu and "conv_general_dilated" in str(jitted.trace(*example_args).jaxpr):
        return lambda *args: _dispatch(jitted, length, *args)
    return jax.jit(lambda *args: _scan(step, length, *args))


def _scan(step, length, state: LoopState, *rest: Any) -> tuple[LoopState, Record]:
    return jax.lax.scan(lambda s, _: step(s, *rest), state, None, length=length)


def _dispatch(step, length, state: LoopState, *rest: Any) -> tuple[LoopState, Record]:
    records = []
    for _ in range(length):
        state, record = step(state, *rest)
        records.append(record)
    return state, jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *records)
