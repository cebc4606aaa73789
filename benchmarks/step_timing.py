"""Compiled calls, timed in turn."""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from moments_timing import interleave


class Ready(NamedTuple):
    """A compiled function with its arguments.

    Attributes:
      program: takes the arguments it was compiled for, or others like them.
      args: what it is called with.
      first: what its first call gave, which allocates and fills caches and is not timed.
      temp_bytes: its scratch memory; None where unknown.
      moved_bytes: of the arguments that it uses and of its results; None where unknown.
    """

    program: Callable[..., Any]
    args: tuple[Any, ...]
    first: Any
    temp_bytes: int | None
    moved_bytes: int | None

    def call(self) -> Any:
        """Run it once, wait, and return what it gave."""
        return jax.block_until_ready(self.program(*self.args))


def compiled(function: Callable, *args: Any) -> Ready:
    """Compile for these arguments, which stay on the device, and call once."""
    program = jax.jit(function).lower(*args).compile()
    first = jax.block_until_ready(program(*args))
    about: Any = program.memory_analysis()
    temp = moved = None
    if about is not None:
        temp = about.temp_size_in_bytes
        # An argument that the function does not look at is none of the program's.
        moved = about.argument_size_in_bytes + about.output_size_in_bytes
    return Ready(program, args, first, temp, moved)


def timed(ready: dict[str, Ready], seconds: float) -> dict[str, dict[str, Any]]:
    """By name, the median seconds of a call and what is known of its program.

    Args:
      ready: what to call, round robin.
      seconds: for the rounds, 3 to 30 of them in any case.
    """
    times = interleave({name: each.call for name, each in ready.items()}, seconds)
    return {
        name: {
            "seconds": statistics.median(times[name]),
            "times": [float(f"{t:.6g}") for t in times[name]],
            "temp_bytes": each.temp_bytes,
        }
        for name, each in ready.items()
    }
