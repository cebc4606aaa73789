"""What every test of a mean reads first: a sample at a safe scale, and what it settles alone."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from feasible_jax.moments.precision import accumulation_dtype


class Sample(NamedTuple):
    """Changes of a batch, divided by the largest size among them, and their moments.

    Attributes:
      values: ``(B,)`` in [-1, 1], 0 in padding.
      weights: ``(B,)``, 1 for an example and 0 for padding.
      count: the number ``n`` of examples.
      fraction: the share ``n / N`` of the population that was seen, 0 for independent draws.
      mean: of the values.
      variance: of one value, with ``n - 1`` in the denominator.
      skewness: the third central moment over the standard deviation cubed, both with ``n``.
      scale: what the changes were divided by.
      equal: whether all changes are one number, and not 0.
      verdict: 0 or 1 where no statistic is needed or none exists, NaN elsewhere.
    """

    values: jax.Array
    weights: jax.Array
    count: jax.Array
    fraction: jax.Array
    mean: jax.Array
    variance: jax.Array
    skewness: jax.Array
    scale: jax.Array
    equal: jax.Array
    verdict: jax.Array


def read_sample(changes: jax.Array, weights: jax.Array | None, population_size: Any) -> Sample:
    """A batch of changes, scaled by the largest size among them, with its verdict if it has one.

    Args:
      changes: ``(B,)``, one number an example.
      weights: ``(B,)``, 0 for padding, or None.
      population_size: ``N`` where the examples were drawn without replacement, or None.

    Returns:
      A ``Sample`` in float32 or wider.

    Raises:
      ValueError: where ``changes`` is not a vector or ``weights`` has another shape.

    >>> import jax.numpy as jnp
    >>> sample = read_sample(jnp.array([1e30, 3e30, 7.0]), jnp.array([1, 1, 0]), None)
    >>> float(sample.mean), float(sample.count), float(sample.verdict)
    (0.666..., 2.0, nan)
    """
    if changes.ndim != 1 or (weights is not None and weights.shape != changes.shape):
        shapes = f"changes {changes.shape}, weights {None if weights is None else weights.shape}"
        raise ValueError(f"One number an example is needed, (B,), and weights alike: got {shapes}.")
    dtype = accumulation_dtype(changes)
    there = jnp.ones(changes.shape, bool) if weights is None else weights.astype(bool)
    x = jnp.where(there, changes.astype(dtype), 0)
    w = there.astype(dtype)
    count = jnp.sum(w)
    least = jnp.min(jnp.where(there, x, jnp.inf), initial=jnp.inf)
    most = jnp.max(jnp.where(there, x, -jnp.inf), initial=-jnp.inf)
    size = jnp.maximum(jnp.abs(least), jnp.abs(most))
    finite = jnp.isfinite(size)  # False for NaN, and for no examples at all
    scale = jnp.where(finite & (size > 0), size, 1)
    values = jnp.where(finite, x / scale, 0)
    fraction, possible = jnp.zeros((), dtype), True
    if population_size is not None:
        population = jnp.asarray(population_size, dtype)
        fraction = jnp.clip(count / population, 0, 1)
        # More than the population cannot have been drawn without replacement.
        possible = count <= population
    mean, variance, skewness = sample_moments(values, w)
    equal = least == most
    # Not ``mean`` where all are equal: it is rounded. No variance without equality is underflow.
    nothing_random = equal | (fraction >= 1) | ~(variance > 0)
    harmless = jnp.where(equal, least < 0, mean < 0) | (size == 0)
    verdict = jnp.where(nothing_random, jnp.where(harmless, 0.0, 1.0), jnp.nan)
    verdict = jnp.where(finite & (count > 1) & possible, verdict, 1.0).astype(dtype)
    equal = equal & finite & (size > 0) & (count > 1)
    return Sample(values, w, count, fraction, mean, variance, skewness, scale, equal, verdict)


def sample_moments(values: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The weighted mean, variance (over ``n - 1``) and skewness of values in [-1, 1].

    Deviations are taken from the least value first, so that values that agree in all but their last
    digits keep a variance.

    Args:
      values: ``(B,)``.
      weights: ``(B,)``, how often each value was seen.

    Returns:
      Three scalars; skewness 0 where the variance is.

    >>> import jax.numpy as jnp
    >>> [float(m) for m in sample_moments(jnp.array([0.0, 0.0, 0.0, 1.0]), jnp.ones(4))]
    [0.25, 0.25, 1.15...]
    """
    n = jnp.maximum(jnp.sum(weights), 1)
    pivot = jnp.min(jnp.where(weights > 0, values, 1), initial=1)
    above = jnp.where(weights > 0, values - pivot, 0)
    rise = jnp.sum(weights * above) / n
    deviations = above - rise
    squares = jnp.sum(weights * deviations**2)
    spread = jnp.sqrt(squares / n)
    standard = deviations / jnp.where(spread > 0, spread, 1)
    skewness = jnp.sum(weights * standard**3) / n
    return pivot + rise, squares / jnp.maximum(n - 1, 1), skewness


def studentised(sample: Sample) -> jax.Array:
    """The mean in units of its standard error ``sqrt(variance / n * (1 - n / N))``.

    >>> import jax.numpy as jnp
    >>> round(float(studentised(read_sample(jnp.array([-1.0, -3.0]), None, None))), 3)
    -2.0
    """
    error = jnp.sqrt(sample.variance / sample.count * (1 - sample.fraction))
    known = error > 0
    return jnp.where(known, sample.mean / jnp.where(known, error, 1), 0)


def clipped(changes: jax.Array, bound: float) -> jax.Array:
    """Changes no larger than a bound, in float32 or wider; infinite ones stay infinite.

    >>> import jax.numpy as jnp
    >>> clipped(jnp.array([-5.0, 5.0, jnp.inf]), 2.0).tolist()
    [-5.0, 2.0, inf]
    """
    x = changes.astype(accumulation_dtype(changes))
    return jnp.where(jnp.isinf(x), x, jnp.minimum(x, bound))


def decided(sample: Sample, p_value: jax.Array, equality_is_certain: bool = True) -> jax.Array:
    """The verdict where the sample has one, the p-value elsewhere, never NaN.

    Args:
      sample: that the p-value was computed from.
      p_value: a scalar.
      equality_is_certain: whether independent changes that are all equal settle their mean. They do
        not for a test that knows how large unseen harm could be.

    Returns:
      A scalar in [0, 1].

    >>> import jax.numpy as jnp
    >>> float(decided(read_sample(jnp.array([1.0, 1.0]), None, None), jnp.array(jnp.nan)))
    1.0
    """
    open_question = jnp.isnan(sample.verdict)
    if not equality_is_certain:
        open_question = open_question | (sample.equal & (sample.fraction < 1))
    p = jnp.where(open_question, p_value, sample.verdict)
    return jnp.where(jnp.isnan(p), 1, jnp.clip(p, 0, 1))
