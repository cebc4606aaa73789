"""Many tests at once: which level each may use, and how many of those that pass are false."""

import functools
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp

from feasible_jax.alignment import critical_value_at
from feasible_jax.feasibility.counting import count_each

MULTIPLICITY = ("none", "bonferroni", "benjamini_hochberg")

# Levels that Benjamini-Hochberg chooses from: the whole one, and each next smaller by this factor.
_GRID, _FACTOR = 48, 2**-0.5


def adjusted_level(
    multiplicity: str,
    statistics: Sequence[Sequence[jax.Array]],
    test: str,
    level: jax.Array,
    counts: Sequence[jax.Array],
) -> jax.Array:
    """The level at which each of many coordinates is tested, for every constraint alike.

    A coordinate passes where all its constraints reject, each at the whole level: an
    intersection-union test, whose p-value is the largest of theirs. It is those that are many.

    ``"none"``: the level itself, so that a test errs as often as it says, and a thousand tests a
    thousand times as often. ``"bonferroni"``: ``level / m``, ``m`` the number of coordinates that
    are tested, so that the chance of any false one among them is at most the level.
    ``"benjamini_hochberg"``: the largest level ``l`` with ``m l <= level R(l)``, ``R(l)`` the
    number that pass at ``l``, so that the expected share of false ones
    among those that pass is at most the level where the tests are independent or positively
    dependent (Benjamini and Hochberg, 1995; Benjamini and Yekutieli, 2001). Levels are rounded down
    to a grid of powers of ``sqrt(2)``, as if p-values were rounded up, which keeps that true.

    Args:
      multiplicity: one of ``MULTIPLICITY``.
      statistics: of each constraint, arrays of test statistics, alike in shape; NaN where it does
        not test a coordinate.
      test: where critical values come from.
      level: in (0, 1), a scalar.
      counts: observations behind each statistic, a scalar for each constraint.

    Returns:
      A scalar; 0 where no level will do.
    """
    if multiplicity == "none":
        return level
    leaves = list(zip(*statistics, strict=True))
    tested = _count(_any([~jnp.isnan(t) for t in leaf]) for leaf in leaves)
    if multiplicity == "bonferroni":
        return level / jnp.maximum(tested, 1)
    levels = level * jnp.asarray(_FACTOR, jnp.float32) ** jnp.arange(_GRID, dtype=jnp.float32)

    def passing(at):
        critical = [critical_value_at(test, at, count) for count in counts]
        return _count(_passes_all(leaf, critical) for leaf in leaves)

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


def _passes_all(statistics: Sequence[jax.Array], critical: Sequence[jax.Array]) -> jax.Array:
    """Where some constraint tests a coordinate, and all that do reject."""
    failed = [t < c.astype(t.dtype) for t, c in zip(statistics, critical, strict=True)]
    return _any([~jnp.isnan(t) for t in statistics]) & ~_any(failed)


def _any(conditions: Sequence[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.logical_or, conditions)


def _count(conditions: Iterable[jax.Array]) -> jax.Array:
    (counts,) = count_each(list(conditions))
    return sum(counts, jnp.float32(0))
