"""What the moments benchmark asks of every contender."""

from collections.abc import Callable
from typing import Any, NamedTuple

MICROBATCH_SIZE = 16


class Prepared(NamedTuple):
    """A contender made ready for one architecture and one batch.

    Attributes:
      call: does the work once and waits for it.
      compile_seconds: of tracing, lowering and compiling; None where nothing is compiled.
      temp_bytes: the scratch memory of the compiled function; None where unknown.
    """

    call: Callable[[], Any]
    compile_seconds: float | None = None
    temp_bytes: int | None = None


class Contender(NamedTuple):
    """One way to take a gradient or its moments.

    Attributes:
      name: the key on the command line.
      label: the name in tables and plots.
      framework: "jax" or "torch", whose plain gradient it is compared with.
      prepare: ``(architecture, batch size) -> Prepared``.
      examples_held: ``batch size -> examples`` whose gradients it holds at once, 0 if none.
      models: the only architectures whose layers it supports, empty for all.
    """

    name: str
    label: str
    framework: str
    prepare: Callable[[Any, int], Prepared]
    examples_held: Callable[[int], int] = lambda batch_size: 0
    models: tuple[str, ...] = ()

    @property
    def is_baseline(self) -> bool:
        """Whether it is the plain gradient that its framework's others are divided by."""
        return self.name in BASELINES.values()


BASELINES = {"jax": "plain", "torch": "torch-plain"}


def whole_batch(batch_size: int) -> int:
    """Every example's gradient is held at once."""
    return batch_size


def one_microbatch(batch_size: int) -> int:
    """The gradients of one microbatch are held at once."""
    return min(batch_size, MICROBATCH_SIZE)
