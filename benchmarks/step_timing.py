"""Compiled calls, timed in turn."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from moments_timing import interleave


class Ready(NamedTuple):
    """A compiled function with its arguments.

    Attributes:
      call: runs it once, waits, and returns what it gave.
      compile_seconds: of tracing, lowering and compiling.
      temp_bytes: its scratch memory; None where unknown.
      moved_bytes: of the arguments that it uses and of its results; None where unknown.
    """

    call: Callable[[], Any]
    compile_seconds: float
    temp_bytes: int | None
    moved_bytes: int | None


def compiled(function: Callable, *args: Any) -> Ready:
    """Compile for these arguments, which stay on the device."""
    start = time.perf_counter()
    program = jax.jit(function).lower(*args).compile()
    seconds = time.perf_counter() - start
    about: Any = program.memory_analysis()
    temp = moved = None
    if about is not None:
        temp = about.temp_size_in_bytes
        # An argument that the function does not look at is none of the program's.
        moved = about.argument_size_in_bytes + about.output_size_in_bytes
    return Ready(lambda: jax.block_until_ready(program(*args)), seconds, temp, moved)


def timed(ready: dict[str, Ready], seconds: float) -> dict[str, dict[str, Any]]:
    """By name, the median seconds of a call and what is known of its program.

    Args:
      ready: what to call, round robin.
      seconds: for the rounds, 3 to 30 of them in any case.
    """
    for each in ready.values():
        each.call()  # allocates and fills caches
    times = interleave({name: each.call for name, each in ready.items()}, seconds)
    return {
        name: {
            "seconds": statistics.median(times[name]),
            "times": [float(f"{t:.6g}") for t in times[name]],
            "compile_seconds": round(each.compile_seconds, 2),
            "temp_bytes": each.temp_bytes,
        }
        for name, each in ready.items()
    }
