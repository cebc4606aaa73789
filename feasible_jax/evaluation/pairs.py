"""Two models on the same examples: one number an example of each."""

import math
from collections.abc import Callable

import numpy as np

from feasible_jax.evaluation.predictions import Predictions


def paired(
    original: Predictions | np.ndarray,
    unlearned: Predictions | np.ndarray,
    per_example: Callable[[Predictions], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """One number an example, of both models.

    Args:
      original: ``Predictions``, or ``(n,)`` numbers, which are returned as they are.
      unlearned: likewise, of the same examples.
      per_example: turns ``Predictions`` into ``(n,)`` numbers.

    Returns:
      ``(original, unlearned)``, both ``(n,)``.

    Raises:
      ValueError: if there are none, or the two cannot be of the same examples.

    >>> paired(np.ones(2), np.zeros(3), len)
    Traceback (most recent call last):
    ...
    ValueError: original has shape (2,) and unlearned (3,): give (n,) for both, of the same
    examples in the same order, and at least one.
    """
    if isinstance(original, Predictions) and isinstance(unlearned, Predictions):
        if not np.array_equal(original.labels, unlearned.labels):
            raise ValueError(
                f"the labels differ, of shapes {original.labels.shape} and "
                f"{unlearned.labels.shape}: let both models predict the same examples, in order."
            )
        original, unlearned = per_example(original), per_example(unlearned)
    if isinstance(original, Predictions) or isinstance(unlearned, Predictions):
        raise ValueError("one is Predictions and the other is not: give both models alike.")
    before, after = np.asarray(original), np.asarray(unlearned)
    if before.ndim != 1 or before.shape != after.shape or len(before) == 0:
        raise ValueError(
            f"original has shape {before.shape} and unlearned {after.shape}: give (n,) for both, "
            "of the same examples in the same order, and at least one."
        )
    return before, after


def check_level(margin: float, confidence: float) -> None:
    """Refuses a margin below 0 and a confidence outside ``(0, 1)``.

    >>> check_level(0.5, 95)
    Traceback (most recent call last):
    ...
    ValueError: confidence is 95: give a level between 0 and 1, such as 0.95.
    """
    if not 0 <= margin < math.inf:
        raise ValueError(
            f"margin is {margin}: give the smallest fall that matters, a number from 0 up."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: give a level between 0 and 1, such as 0.95.")
