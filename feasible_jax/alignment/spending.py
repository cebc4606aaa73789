"""How to spend one level over many tests."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp


def alpha_spending(steps: int | None = None) -> Callable[[Any], Any]:
    """Spend a level over the steps of a run, so that the whole run errs at most at that level.

    By the union bound, tests at levels ``alpha_t`` err at least once with probability at most ``sum
    alpha_t``. With a known number of steps each gets ``alpha / steps``; without, step ``t = 0, 1,
    ...`` gets ``alpha / ((t + 1)(t + 2))``, a series that sums to ``alpha``.

    Args:
      steps: the number of tests there will be, at least 1; None where nobody knows. Steps beyond
        it get nothing.

    Returns:
      ``step -> share`` of the level, in [0, 1], for ``feasible_updates(spending=...)`` and
      ``certify_updates(spending=...)``.

    Raises:
      ValueError: if ``steps`` is below 1.

    >>> float(alpha_spending(steps=20)(3)), round(float(alpha_spending()(0)), 3)
    (0.05000000074505806, 0.5)
    """
    if steps is not None and steps < 1:
        raise ValueError(f"steps={steps}: give a whole number of at least 1, or None.")

    def share(step):
        t = jnp.asarray(step).astype(jnp.float32)
        if steps is None:
            return 1 / ((t + 1) * (t + 2))
        return jnp.where(t < steps, jnp.float32(1 / steps), 0)

    return share
