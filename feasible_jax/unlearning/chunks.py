"""Many steps at a time: a scan where that is fast, single dispatches where it is not."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.unlearning.placement import out_shardings
from feasible_jax.unlearning.step import Limits, LoopState, Record


def make_chunk(step: Callable, length: int, example_args: tuple, fed: bool = False) -> Callable:
    """A function that takes ``length`` steps, ``(state, data, fixed, limits)``.

    The steps run under one ``lax.scan``, except where they are fed, or where convolutions would run
    on a CPU: inside a loop XLA compiles them to code several times slower than outside one. There
    the jitted step is dispatched from Python, without waiting for the one before.

    Args:
      step: from ``make_step``.
      length: steps a chunk.
      example_args: ``(state, data, fixed, limits)``, arrays or their shapes.
      fed: whether ``data`` will be a function that gives the data of the next step, or None where
        there is none.

    Returns:
      A function of the same arguments that returns ``(state, records)``, records stacked. No step
      is taken beyond the end of the run, after one that was not finite, or once patience is spent;
      ``alive`` is False in the records of those. ``records`` is None where no step was taken.
    """
    lie = out_shardings(example_args[0])
    jitted = jax.jit(step, out_shardings=lie)
    if fed or is_slow_in_loops(jitted, example_args):
        return lambda *args: _dispatch(jitted, length, *args)
    # Jitted: it is traced already.
    return jax.jit(lambda *args: _scan(jitted, length, *args), out_shardings=lie)


def _scan(step, length, state: LoopState, *rest: Any) -> tuple[LoopState, Record]:
    record = jax.eval_shape(step, state, *rest)[1]
    not_taken = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), record)

    def body(state, _):
        go_on = state.alive & ~is_over(state, rest[-1])
        return jax.lax.cond(go_on, lambda s: step(s, *rest), lambda s: (s, not_taken), state)

    return jax.lax.scan(body, state, None, length=length)


def _dispatch(
    step, length, state: LoopState, data, fixed, limits: Limits
) -> tuple[LoopState, Record | None]:
    records: list[Record] = []
    feed = data if callable(data) else lambda: data
    # Updates in a row that are zero are few: looked at only where patience could be spent.
    while len(records) < length:
        possible = min(length - len(records), int(limits.steps) - int(state.step),
                       int(limits.patience) - int(state.idle))  # fmt: skip
        if possible < 1:
            break
        here = None
        for _ in range(possible):
            here = feed()
            if here is None:
                break
            state, record = step(state, here, fixed, limits)
            records.append(record)
        if here is None or not state.alive:
            break
    if not records:
        return state, None
    return state, jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *records)


def is_slow_in_loops(jitted: Any, example_args: tuple) -> bool:
    """Whether XLA would make a jitted function slow inside a loop: convolutions on a CPU.

    >>> is_slow_in_loops(jax.jit(jnp.sin), (jnp.ones(3),))
    False
    """
    if jax.default_backend() != "cpu":
        return False
    return "conv_general_dilated" in str(jitted.trace(*example_args).jaxpr)


def is_over(state: LoopState, limits: Limits) -> jax.Array:
    """Whether a run has taken all its steps, or lost its patience."""
    return (state.step >= limits.steps.astype(jnp.int32)) | (state.idle >= limits.patience)
