"""Many tests at once: which level each may use, and how many of those that pass are false."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from feasible_jax.alignment import critical_value_at
from feasible_jax.feasibility.counting import count_each

MULTIPLICITY = ("none", "bonferroni", "benjamini_hochberg")

# Levels that Benjamini-Hochberg chooses from: the whole one, and each next smaller by this factor.
_GRID, _FACTOR = 48, 2**-0.5


def adjusted_level(
    multiplicity: str,
    statistics: Sequence[jax.Array],
    test: str,
    level: jax.Array,
    count: jax.Array,
) -> jax.Array:
    """The level at which each of many tests is made.

    ``"none"``: the level itself, so that a test errs as often as it says, and a thousand tests a
    thousand times as often. ``"bonferroni"``: ``level / m``, so that the chance of any false
    coordinate is at most the level. ``"benjamini_hochberg"``: the largest level ``l`` with ``m l <=
    level R(l)``, ``R(l)`` the number that pass at ``l``, so that the expected share of false ones
    among those that pass is at most the level where the tests are independent or positively
    dependent (Benjamini and Hochberg, 1995; Benjamini and Yekutieli, 2001). Levels are rounded down
    to a grid of powers of ``sqrt(2)``, as if p-values were rounded up, which keeps that true.

    Args:
      multiplicity: one of ``MULTIPLICITY``.
      statistics: arrays of test statistics; NaN for what is not tested.
      test: where critical values come from.
      level: in (0, 1), a scalar.
      count: observations behind each statistic, a scalar.

    Returns:
      A scalar; 0 where no level will do.
    """
    if multiplicity == "none":
        return level
    tested = _count(statistics, lambda t: ~jnp.isnan(t))
    if multiplicity == "bonferroni":
        return level / jnp.maximum(tested, 1)
    levels = level * jnp.asarray(_FACTOR, jnp.float32) ** jnp.arange(_GRID, dtype=jnp.float32)

    def passing(at):
        critical = critical_value_at(test, at, count)
        return _count(statistics, lambda t: t >= critical.astype(t.dtype))

    fits = tested * levels <= level * jax.lax.map(passing, levels)
    return jnp.max(jnp.where(fits, levels, 0))


def expected_false(tested: jax.Array, negative: jax.Array, level: jax.Array) -> jax.Array:
    """An estimate of how many misaligned coordinates pass a test at a level.

    ``level m_0``, with the number of misaligned coordinates estimated by those that a fair coin
    would put on the other side, ``m_0 = min(m, 2 #{t < 0})`` (Storey, 2002, at lambda = 1/2).

    Args:
      tested: how many coordinates were tested.
      negative: how many of them have a negative statistic.
      level: of each test, a scalar.

    Returns:
      A scalar.
    """
    return level * jnp.minimum(tested, 2 * negative)


def _count(statistics: Sequence[jax.Array], condition) -> jax.Array:
    (counts,) = count_each([condition(t) for t in statistics])
    return sum(counts, jnp.float32(0))
