"""How lopsided the distribution of a gradient coordinate is over examples."""

from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.gradient_moments import GradientMoments
from feasible_jax.moments.precision import accumulation_dtype


def skewness(moments: GradientMoments) -> Any:
    """The skewness of one observation, coordinate by coordinate: ``third / variance^1.5``.

    The adjusted Fisher-Pearson coefficient (Joanes and Gill, 1998), 0 where the distribution is
    symmetric and positive where its long tail is on the right. Divided in two steps, so that it is
    right wherever the third moment itself is; where that has underflowed (standard deviations
    below about 1e-12 in float32) skewness is understated, down to 0.

    Args:
      moments: moments taken with ``third=True``.

    Returns:
      A tree shaped like ``moments.mean``, float32 or wider, of any real value; 0 where the variance
      is 0 (a constant is symmetric), NaN where fewer than three observations were seen or the
      moments have overflowed.

    Raises:
      ValueError: if the moments were taken without the third.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.moments import moments_from_per_example
    >>> moments = moments_from_per_example(jnp.array([[0.0], [0.0], [3.0]]), third=True)
    >>> round(float(skewness(moments)[0]), 4)
    1.7321
    """
    if moments.third is None:
        raise ValueError("moments have no third central moment: take them with third=True.")
    return jax.tree.map(_skewness, moments.third, moments.variance)


def _skewness(third, variance):
    dtype = accumulation_dtype(third, variance)
    third, variance = third.astype(dtype), variance.astype(dtype)
    spread = variance > 0
    safe = jnp.where(spread, variance, 1)
    # A variance that is NaN has no spread to compare with, yet is no constant's.
    symmetric = (variance == 0) & ~jnp.isnan(third)
    return jnp.where(symmetric, 0, third / jnp.sqrt(safe) / jnp.where(spread, safe, jnp.nan))
