"""In which dtype sums over examples are taken, and what underflow may hide from them."""

from typing import Any

import jax
import jax.numpy as jnp

# Squares below the smallest normal number are flushed to 0. Sums of squares this many times larger
# are hardly touched by it (one part in a thousand at most); smaller ones are not to be trusted.
_MARGIN = 1024


def accumulation_dtype(*arrays: Any) -> Any:
    """float64 where one of the arrays has it, float32 for all else.

    Not ``jnp.promote_types``: under strict promotion that refuses bfloat16 with float32.

    >>> import jax.numpy as jnp
    >>> accumulation_dtype(jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.float16))
    dtype('float32')
    """
    wide = any(array.dtype == jnp.float64 for array in arrays)
    return jnp.dtype(jnp.float64 if wide else jnp.float32)


def lift_squares(squares: jax.Array, differ: jax.Array, count: jax.Array) -> jax.Array:
    """A sum of squared deviations, no smaller than what underflow can have hidden.

    Where observations differ by too little to be squared, a sum of 0 would be a false certainty.

    Args:
      squares: sums of ``count`` squared deviations.
      differ: where the observations are known to differ.
      count: the number of observations, a scalar of the same dtype.

    Returns:
      ``squares``, lifted to ``1024 * count`` times the smallest normal number where they differ.

    >>> import jax.numpy as jnp
    >>> float(lift_squares(jnp.array(0.0), jnp.array(True), jnp.array(2.0))) > 0
    True
    """
    floor = count * (_MARGIN * float(jnp.finfo(squares.dtype).tiny))
    return jnp.where(differ & (squares < floor), floor, squares)


def unbiased_variance(squares: jax.Array, count: jax.Array) -> jax.Array:
    """``squares / (count - 1)``, infinite where there are no two observations.

    >>> import jax.numpy as jnp
    >>> float(unbiased_variance(jnp.array(2.0), jnp.array(1.0)))
    inf
    """
    known = count > 1
    return jnp.where(known, squares / jnp.where(known, count - 1, 1), jnp.inf)


def unbiased_third(cubes: jax.Array, count: jax.Array) -> jax.Array:
    """Fisher's k-statistic ``count / ((count - 1) (count - 2)) * cubes``.

    NaN where there are no three observations: two deviations are opposite, and say nothing.

    >>> import jax.numpy as jnp
    >>> float(unbiased_third(jnp.array(6.0), jnp.array(3.0)))
    9.0
    """
    known = count > 2
    n = jnp.where(known, count, 3)
    return jnp.where(known, cubes * (n / (n - 1) / (n - 2)), jnp.nan)
