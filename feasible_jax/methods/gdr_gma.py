"""GDR-GMA: conflicting gradients rectified tensor by tensor, and weighed by the retain loss."""

from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.methods.directions import direction_of
from feasible_jax.methods.method import Method, Objective


def gdr_gma(sharpness: float = 100.0, tolerated_loss: float = 0.02) -> Method:
    """Step along rectified gradients, towards forgetting while the retain loss is low.

    GDR-GMA of Lin et al. (2024), with the gradients ``g_r`` of ``mean CE(retain)`` and ``g_f`` of
    ``-mean CE(forget)``. Direction: for every tensor where ``g_r . g_f < 0``, each gradient loses
    its component along the other::

        g_r' = g_r - (g_r . g_f) / |g_f|^2 g_f        g_f' = g_f - (g_r . g_f) / |g_r|^2 g_r

    Magnitude: the step is ``(1 - w) g_r' + w g_f'`` with ``w = sigmoid(-s (L_r - t))``, where
    ``L_r`` is the retain loss of the batch. The authors' memory of past gradients of the last layer
    is left out.

    Args:
      sharpness: ``s``, >= 0, how fast forgetting gives way.
      tolerated_loss: ``t``, the retain loss at which both gradients weigh the same, in nats.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if ``sharpness`` is negative.

    >>> g = gdr_gma().combine({"forget": jnp.array([1.0, 0.0]), "retain": jnp.array([1.0, 1.0])},
    ...                       {"retain": jnp.array(0.02)}, 0.0)
    >>> [round(x, 4) for x in g.tolist()]
    [-0.25, 0.75]
    """
    if not sharpness >= 0:
        raise ValueError(f"sharpness={sharpness}: give a number >= 0.")

    def combine(gradients: dict[str, Any], losses: dict[str, jax.Array], progress: Any) -> Any:
        del progress
        weight = jax.nn.sigmoid(-sharpness * (losses["retain"] - tolerated_loss))

        def of_leaf(retain, climb):
            forget = -climb
            down, up = _without_conflict(retain, forget), _without_conflict(forget, retain)
            w = weight.astype(up.dtype)
            return (1 - w) * down + w * up

        return jax.tree.map(of_leaf, gradients["retain"], gradients["forget"])

    objectives = (Objective("forget", "forget"), Objective("retain", "retain"))
    return Method("GDR-GMA", objectives, (), combine=combine)


def _without_conflict(gradient: jax.Array, other: jax.Array) -> jax.Array:
    """The gradient without its component along the other, where they conflict."""
    (gradient, length), other = direction_of(gradient), direction_of(other).unit
    component = jnp.minimum(jnp.vdot(gradient, other), 0)
    return length * (gradient - component * other)
