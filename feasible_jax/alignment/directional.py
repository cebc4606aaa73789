"""The same test on one number an example: its derivative along a whole direction."""

import jax
import jax.numpy as jnp

from feasible_jax.alignment.coordinates import aligned
from feasible_jax.moments import moments_from_per_example


def direction_aligned(derivatives: jax.Array, sign: float, critical: jax.Array) -> jax.Array:
    """Whether directions are probably aligned with an objective.

    The one-sided test of ``aligned`` on per-example directional derivatives
    ``q_n = <g_n, update>``, whose variance holds every correlation between coordinates exactly.

    Args:
      derivatives: ``(B, ...)``, one direction an entry of the trailing axes.
      sign: ``DECREASE`` where the objective must not increase, ``INCREASE`` where it must not
        decrease.
      critical: the critical value, a scalar.

    Returns:
      Booleans of shape ``(...)``.

    >>> import jax.numpy as jnp
    >>> direction_aligned(jnp.array([[-1.0, 1.0], [-1.2, 1.1], [-0.9, 0.8]]), 1.0, 2.92).tolist()
    [True, False]
    """
    moments = moments_from_per_example(derivatives)
    forward = jnp.ones_like(moments.mean)
    return aligned(forward, moments.mean, moments.variance, moments.count, sign, critical)
