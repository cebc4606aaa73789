"""Size and power of every test of a mean on one population, with the same draws for all."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.alignment import (
    MEAN_TESTS,
    MeanTest,
    betting_test,
    bootstrap_test,
    gaffke_test,
    resolve_mean_test,
)

ALPHAS = (0.01, 0.05, 0.1, 0.2)
# A shift by so many standard errors of the mean is to be found.
POWER_SHIFT = 4.0

# The bootstrap costs a thousand times what the others do; 200 times every level here is whole.
_RESAMPLES = 199
# Numbers that a test is shown at once, so that what it makes of them fits a cache.
_AT_ONCE, _AT_ONCE_RESAMPLED = 2**14, 2**10

TESTS: dict[str, MeanTest] = {name: resolve_mean_test(name) for name in MEAN_TESTS} | {
    "bootstrap": bootstrap_test(_RESAMPLES)
}
# For changes up to 1: the tests do not depend on the unit.
BOUNDED_TESTS: dict[str, MeanTest] = {
    "gaffke, bounded": gaffke_test(worst=1.0),
    "betting": betting_test(bound=1.0),
}


def cells(
    draw: Callable[[int], np.ndarray],
    batch_size: int,
    worst: float | None,
    draws: int,
    bootstrap_draws: int,
) -> list[dict[str, Any]]:
    """How often each test rejects at each level, at the boundary and off it.

    Args:
      draw: ``n -> (n, batch_size)`` of a population of mean 0 and standard deviation 1.
      batch_size: examples of a batch.
      worst: the bound of the population, None for none.
      draws: batches.
      bootstrap_draws: how many of them the bootstrap sees.

    Returns:
      A row a test: ``size`` and ``power`` are numbers of rejections, one a level of ``ALPHAS``.
    """
    values = draw(draws)
    rows = []
    for name, test in (TESTS | (BOUNDED_TESTS if worst else {})).items():
        count = min(draws, bootstrap_draws) if name == "bootstrap" else draws
        unit = worst if worst and name in BOUNDED_TESTS else 1.0
        shift = POWER_SHIFT / np.sqrt(batch_size)
        rows.append(
            {
                "B": batch_size,
                "test": name,
                "draws": count,
                "size": _rejections(test, values[:count] / unit),
                "power": _rejections(test, (values[:count] - shift) / unit),
            }
        )
    return rows


def _rejections(test: MeanTest, values: np.ndarray) -> list[int]:
    return rejected(test, values).sum(1).tolist()


def rejected(test: MeanTest, values: np.ndarray) -> np.ndarray:
    """``(levels, batches)``: whether each batch of ``(batches, B)`` certifies at each level."""
    p_values = np.asarray(_p_values(test)(jnp.asarray(values, jnp.float32)))
    return p_values <= np.asarray(ALPHAS, np.float32)[:, None]


@cache
def _p_values(test: MeanTest) -> Callable[[jax.Array], jax.Array]:
    at_once = _AT_ONCE_RESAMPLED if test.name == "bootstrap" else _AT_ONCE

    def all_of(values: jax.Array) -> jax.Array:
        rows = max(1, at_once // values.shape[1])
        return jax.lax.map(lambda v: test.p_value(v, None, None), values, batch_size=rows)

    return jax.jit(all_of)
