"""MUNBa: the forget and the retain gradient strike a Nash bargain."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from feasible_jax.methods.directions import add_scaled, direction_of
from feasible_jax.methods.method import Method, Objective

# Sums of two unit vectors below this length point where rounding does.
_OPPOSITE = 1e-4


def munba() -> Method:
    """Step along the Nash bargain of the forget and the retain gradient.

    MUNBa of Wu and Harandi (2025). Two players propose the gradients ``g_r`` of ``mean CE(retain)``
    and ``g_f`` of ``-mean CE(forget)``; of all steps the bargain maximises the product of their
    gains, whatever the lengths of the proposals. For two players it has a closed form::

        g = (g_r / |g_r| + g_f / |g_f|) / sqrt(1 + cos(g_r, g_f))

    It lies midway between the two and its length is always ``sqrt(2)``, so the learning rate alone
    decides how far a step goes. Opposite gradients leave nothing to bargain for: the step is 0.
    A gradient of 0 makes no proposal, and the other's unit vector is the step.

    Returns:
      A ``Method``.

    >>> g = munba().combine({"forget": jnp.array([0.0, -3.0]), "retain": jnp.array([5.0, 0.0])},
    ...                     {}, 0.0)
    >>> [round(x, 6) for x in g.tolist()]
    [1.0, 1.0]
    """
    return Method(
        "MUNBa",
        (Objective("forget", "forget"), Objective("retain", "retain")),
        (),
        combine=_bargain,
    )


def _bargain(gradients: dict[str, Any], losses: dict[str, jax.Array], progress: Any) -> Any:
    del losses, progress
    retain, forget = direction_of(gradients["retain"]), direction_of(gradients["forget"])
    total = add_scaled(retain.unit, -1, forget.unit)
    length = jnp.asarray(optax.tree.norm(total))
    both = (retain.norm > 0) & (forget.norm > 0)
    # |u + v|^2 = 2 (1 + cos), which does not cancel where the gradients are nearly opposite.
    root = jnp.where(both, length / 2**0.5, 1)
    scale = jnp.where(length > _OPPOSITE, 1 / jnp.where(root > 0, root, 1), 0)
    return jax.tree.map(lambda leaf: scale * leaf, total)
