"""Several processes that run one program: what one does for all, and what all agree on."""

from collections.abc import Callable

import jax
import numpy as np


def on_first_process(act: Callable[[], None]) -> None:
    """Run something on the first process, while the others wait.

    Raises:
      RuntimeError: on the others, if it fails there.

    >>> on_first_process(lambda: print("once"))
    once
    """
    failure = None
    if jax.process_index() == 0:
        try:
            act()
        except Exception as error:
            failure = error
    failed = first_says(failure is not None)
    if failure is not None:
        raise failure
    if failed:
        raise RuntimeError("the first process failed in what it does for all: see its error.")


def first_says(flag: bool) -> bool:
    """What the first process thinks of a question on which the others may think otherwise.

    >>> first_says(True)
    True
    """
    return bool(gathered(np.array([flag]))[0, 0])


def summed(numbers: np.ndarray) -> np.ndarray:
    """The sum of an array of unsigned numbers over all processes, modulo their range.

    >>> summed(np.array([200], np.uint8))
    array([200], dtype=uint8)
    """
    return gathered(numbers).sum(0, dtype=numbers.dtype)


def gathered(numbers: np.ndarray) -> np.ndarray:
    """An array of each process, stacked in their order.

    >>> gathered(np.array([1, 2])).shape
    (1, 2)
    """
    if jax.process_count() == 1:
        return numbers[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(numbers))
