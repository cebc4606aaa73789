"""HAMU: the step that costs the retain set least, among those that forget enough."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from feasible_jax.methods.directions import direction_of, plus
from feasible_jax.methods.method import Method, Objective

# Of a unit vector, less than this across another is rounding.
_PARALLEL = 1e-5


def hamu(forget_gain: float = 0.5, radius: float | None = None) -> Method:
    """Step along the ``d`` that lowers the retain loss most, of those that forget enough.

    HAMU (its variant Q) of Chen et al. (2026). With the gradients ``g_r`` of ``mean CE(retain)``
    and ``g_f`` of ``mean CE(forget)``, to first order::

        minimise g_r . d    subject to    g_f . d >= c    and    |d| <= R

    With unit vectors ``u_r``, ``u_f``, and ``p = c / (R |g_f|)``: where ``-u_r . u_f >= p``,
    descent on the retain loss forgets enough by itself and ``d = -R u_r``. Elsewhere ``d = R (p u_f
    - sqrt(1 - p^2) w)`` with ``w`` the unit vector of ``u_r`` across ``u_f``; it is 0 where the two
    are parallel. No step of length ``R`` forgets enough where ``p > 1``: the step is then 0.

    The update is the learning rate times ``d``. By default ``R = |g_r|`` and ``c = forget_gain |g_r|
    |g_f|``, as in the authors' runs: ``p`` is then ``forget_gain``, the cosine between the update
    and the forget gradient at least.

    Args:
      forget_gain: ``c`` in nats, >= 0, where a radius is given; else ``p``, in [0, 1].
      radius: ``R``, > 0; None for the length of the retain gradient.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if a value is out of its range.

    >>> step = hamu(0.6, radius=1.0).combine(
    ...     {"forget": jnp.array([1.0, 0.0]), "retain": jnp.array([1.0, 1.0])}, {}, 0.0)
    >>> [round(-x, 2) for x in step.tolist()]
    [0.6, -0.8]
    """
    most = 1.0 if radius is None else float("inf")
    if not 0 <= forget_gain <= most:
        raise ValueError(f"forget_gain={forget_gain}: give a number in [0, {most:g}].")
    if radius is not None and not radius > 0:
        raise ValueError(f"radius={radius}: give a number > 0, or None.")

    def combine(gradients: dict[str, Any], losses: dict[str, jax.Array], progress: Any) -> Any:
        del losses, progress
        retain, forget = direction_of(gradients["retain"]), direction_of(gradients["forget"])
        if radius is None:
            length, cosine = retain.norm, jnp.where(forget.norm > 0, forget_gain, 0)
        else:
            length = jnp.full_like(retain.norm, radius)
            gain = forget_gain / jnp.where(forget.norm > 0, forget.norm * length, 1)
            cosine = jnp.where(forget.norm > 0, gain, jnp.inf if forget_gain > 0 else 0)
        step = _cheapest(retain.unit, forget.unit, cosine)
        scale = jnp.where(cosine <= 1, -length, 0)
        return jax.tree.map(lambda leaf: scale.astype(leaf.dtype) * leaf, step)

    objectives = (Objective("forget", "forget"), Objective("retain", "retain"))
    return Method("HAMU", objectives, (), combine=combine)


def _cheapest(retain: Any, forget: Any, cosine: jax.Array) -> Any:
    """The unit vector furthest from ``retain``, of those with at least this cosine to ``forget``."""
    along = optax.tree.vdot(retain, forget)
    across = direction_of(plus(retain, -along, forget))
    cosine = jnp.clip(cosine, 0, 1).astype(along.dtype)
    side = jnp.where(across.norm > _PARALLEL, jnp.sqrt(1 - cosine * cosine), 0)
    enough = -along >= cosine
    return jax.tree.map(
        lambda r, f, a: jnp.where(
            enough, -r, cosine.astype(f.dtype) * f - side.astype(a.dtype) * a
        ),
        retain,
        forget,
        across.unit,
    )
