"""Quantiles of the normal and of Student's t distribution, for traced arguments."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.precision import accumulation_dtype

TESTS = ("normal", "student")


def critical_value(test: str, confidence: Any, count: Any) -> jax.Array:
    """The value a one-sided test statistic has to reach at a confidence.

    Args:
      test: ``"normal"``, or ``"student"`` with ``count - 1`` degrees of freedom.
      confidence: in (0, 1), a scalar, possibly traced; 0.5 gives 0.
      count: the number of observations behind the statistic.

    Returns:
      A float32 scalar (or wider, as its arguments are).

    Raises:
      ValueError: for an unknown test.

    >>> round(float(critical_value("normal", 0.95, 10)), 3)
    1.645
    >>> round(float(critical_value("student", 0.95, 10)), 3)
    1.833
    """
    if test == "normal":
        return normal_quantile(confidence)
    if test == "student":
        return student_quantile(confidence, jnp.asarray(count) - 1)
    raise ValueError(f"test={test!r}: choose one of {', '.join(map(repr, TESTS))}.")


def critical_value_at(test: str, level: Any, count: Any) -> jax.Array:
    """``critical_value`` at the confidence ``1 - level``, accurate where the level is tiny.

    Args:
      test: ``"student"`` or ``"normal"``.
      level: of the one-sided test, in (0, 1), a scalar.
      count: number of observations, a scalar.

    Returns:
      A scalar; infinite where there are too few observations for a variance.

    Raises:
      ValueError: for an unknown test.

    >>> round(float(critical_value_at("normal", 1e-9, 10)), 3)
    5.998
    """
    value = critical_value(test, level, count)
    return jnp.where(jnp.isposinf(value), value, -value)  # below 1 degree nothing can be said


def normal_quantile(probability: Any) -> jax.Array:
    """The quantile of the standard normal distribution.

    Args:
      probability: in (0, 1).

    Returns:
      An array of the same shape.

    >>> round(float(normal_quantile(0.975)), 3)
    1.96
    """
    return jax.scipy.special.ndtri(_floating(probability))


def student_quantile(probability: Any, degrees: Any) -> jax.Array:
    """The quantile of Student's t distribution, in closed form.

    Exact at 1 and 2 degrees of freedom; Algorithm 396 of the CACM (G. W. Hill, 1970), within 2e-5
    of the exact quantile, relatively, from 3 on; between 1 and 3, degrees are rounded down, which
    is conservative. No iteration, so it costs nothing inside a jitted step.

    Args:
      probability: in (0, 1).
      degrees: degrees of freedom, not necessarily whole.

    Returns:
      An array of the broadcast shape; ``+inf`` below 1 degree of freedom, where nothing can be
      said, and NaN for a probability outside [0, 1].

    >>> round(float(student_quantile(0.95, 5.0)), 3), float(student_quantile(0.95, 0.0))
    (2.015, inf)
    """
    p, n = jnp.broadcast_arrays(_floating(probability), _floating(degrees))
    dtype = accumulation_dtype(p, n)
    p, n = p.astype(dtype), n.astype(dtype)
    tail = jnp.minimum(p, 1 - p)
    one = 1 / jnp.tan(jnp.pi * tail)
    two = (1 - 2 * tail) / jnp.sqrt(2 * tail * (1 - tail))
    # Beyond a hundred million degrees it is the normal quantile, and Hill's formulas overflow.
    more = _hill(2 * tail, jnp.clip(n, 3, 1e8))
    size = jnp.where(n < 2, one, jnp.where(n < 3, two, more))
    size = jnp.where(p == 0.5, 0, jnp.where(tail < 0, jnp.nan, size))
    return jnp.where(n >= 1, jnp.where(p < 0.5, -size, size), jnp.inf)


def _hill(p: jax.Array, n: jax.Array) -> jax.Array:
    """The two-tailed quantile from 3 degrees on; the polynomials are the published ones."""
    a = 1 / (n - 0.5)
    b = 48 / (a * a)
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * jnp.sqrt(a * (math.pi / 2)) * n
    y = (d * p) ** (2 / n)
    near = jnp.sqrt(n * _hill_near_the_middle(p, n, a, b, c, d))
    return jnp.where(y > 0.05 + a, near, jnp.sqrt(n * _hill_in_the_tail(y, n, d)))


def _hill_near_the_middle(p, n, a, b, c, d):
    x = jax.scipy.special.ndtri(p / 2)
    y = x * x
    c = jnp.where(n < 5, c + 0.3 * (n - 4.5) * (x + 0.6), c)
    c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
    y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
    return jnp.expm1(a * y * y)


def _hill_in_the_tail(y, n, d):
    inner = ((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3
    return ((1 / inner + 0.5 / (n + 4)) * y - 1) * (n + 1) / (n + 2) + 1 / y


def _floating(x: Any) -> jax.Array:
    x = jnp.asarray(x)
    return x.astype(accumulation_dtype(x))
