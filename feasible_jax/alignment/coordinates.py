"""Is a move along a direction probably good for an objective? One-sided tests on its moments."""

import jax
import jax.numpy as jnp

from feasible_jax.moments.precision import accumulation_dtype

DECREASE = 1.0
INCREASE = -1.0


def alignment_statistic(
    update: jax.Array, mean: jax.Array, variance: jax.Array, count: jax.Array, sign: float
) -> jax.Array:
    """The t statistic of each coordinate against the hypothesis that moving it does harm.

    ``t_i = -sign * sgn(update_i) * mean_i / sqrt(variance_i / count)``: large where the objective
    probably moves the wanted way to first order.

    Args:
      update: the update that would be added to the parameters.
      mean: mean gradient of the objective, shaped like ``update``.
      variance: variance of one observation, shaped like ``update``.
      count: number of observations.
      sign: ``DECREASE`` (+1) where the objective must not increase, ``INCREASE`` (-1) where it
        must not decrease.

    Returns:
      An array like ``mean``; NaN where mean and variance are both 0 (see ``aligned``, which
      decides such cases).

    >>> import jax.numpy as jnp
    >>> float(alignment_statistic(jnp.array(-0.1), jnp.array(3.0), jnp.array(4.0), 16.0, DECREASE))
    6.0
    """
    progress, error = _progress_and_error(update, mean, variance, count, sign)
    return progress / error


def aligned(
    update: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    count: jax.Array,
    sign: float,
    critical: jax.Array,
    price: jax.Array | float = 0.0,
) -> jax.Array:
    """Which coordinates of an update are probably aligned with an objective.

    True where the progress per unit of movement, less its price, reaches the critical value times
    its standard error: ``-sign sgn(update_i) mean_i >= price_i + critical SE_i``. The cases without
    a statistic are decided on purpose:

    * mean and variance both 0: the batch is indifferent to the coordinate, moving it is neutral
      to first order, True (denormal numbers are 0 here, as they are to XLA on a CPU);
    * variance 0 and mean not: certain, True iff the direction is right; unless the mean is so
      small that its square is not representable, when nothing was learnt, False;
    * anything not finite, in update or moments, or fewer than two observations: False.

    Args:
      update: the update that would be added to the parameters.
      mean: mean gradient of the objective, shaped like ``update``.
      variance: variance of one observation, shaped like ``update``.
      count: number of observations.
      sign: ``DECREASE`` or ``INCREASE``.
      critical: the critical value, a scalar.
      price: what moving a coordinate costs, per unit of movement, such as its curvature; at least
        0, shaped like ``update`` or a scalar.

    Returns:
      A boolean array shaped like ``update``.

    >>> import jax.numpy as jnp
    >>> update = jnp.array([-1.0, -1.0, 1.0, 1.0])
    >>> mean, variance = jnp.array([2.0, 0.1, 2.0, 0.0]), jnp.array([1.0, 1.0, 1.0, 0.0])
    >>> aligned(update, mean, variance, 4.0, DECREASE, 1.645).tolist()
    [True, False, False, True]
    """
    progress, error = _progress_and_error(update, mean, variance, count, sign)
    critical = jnp.asarray(critical).astype(error.dtype)
    neutral = (mean == 0) & (variance == 0)
    certain_at_all = progress * progress >= float(jnp.finfo(progress.dtype).tiny)
    clear = (progress >= critical * error + price) & ((variance > 0) | certain_at_all)
    finite = jnp.isfinite(update) & jnp.isfinite(progress) & jnp.isfinite(error)
    return finite & (count > 1) & jnp.isfinite(count) & (neutral | clear)


def _progress_and_error(update, mean, variance, count, sign):
    dtype = accumulation_dtype(mean, variance)
    progress = -sign * jnp.sign(update).astype(dtype) * mean.astype(dtype)
    # Rooted apart: the quotient of the smallest variance would be flushed to 0, a false certainty.
    error = jnp.sqrt(variance.astype(dtype)) / jnp.sqrt(jnp.asarray(count).astype(dtype))
    return progress, error
