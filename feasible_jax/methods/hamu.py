"""HAMU: the step that costs the retain set least, among those that forget enough."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from feasible_jax.methods.directions import add_scaled, direction_of
from feasible_jax.methods.method import Method, Objective

# Of a unit vector, less than this across another is rounding.
_PARALLEL = 1e-5


def hamu(forget_gain: float = 0.5, radius: float | None = 1.0, relative: bool = True) -> Method:
    """Step along the ``d`` that lowers the retain loss most, of those that forget enough.

    HAMU (its variant Q) of Chen et al. (2026). With the gradients ``g_r`` of ``mean CE(retain)``
    and ``g_f`` of ``mean CE(forget)``, to first order::

        minimise g_r . d    subject to    g_f . d >= c    and    |d| <= R

    With unit vectors ``u_r`` and ``u_f``, and ``p = c / (R |g_f|)``: where ``-u_r . u_f >= p``,
    descent on the retain loss forgets enough by itself and ``d = -R u_r``. Elsewhere
    ``d = R (p u_f - sqrt(1 - p^2) w)`` with ``w`` the unit vector of ``u_r`` across ``u_f``, or
    with ``w = 0`` where the two are parallel. Where ``p > 1`` no step of length ``R`` forgets
    enough: the step is then 0 and the run goes on, where the authors' stops; ``relative``, which
    they do not have, never comes to that. The update is the learning rate times ``d``.

    Args:
      forget_gain: ``p`` itself, in [0, 1], where ``relative``: the cosine that the update has to
        the forget gradient at least; else ``c``, in nats, >= 0, whatever the gradient.
      radius: ``R``, > 0; None for ``|g_r|``, as in the authors' runs, which become slow where the
        retain set is fitted.
      relative: what ``forget_gain`` is.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if a value is out of its range.

    >>> step = hamu(0.6).combine(
    ...     {"forget": jnp.array([2.0, 0.0]), "retain": jnp.array([1.0, 1.0])}, {}, 0.0)
    >>> [round(-x, 2) for x in step.tolist()]
    [0.6, -0.8]
    """
    most = 1.0 if relative else float("inf")
    if not 0 <= forget_gain <= most:
        raise ValueError(f"forget_gain={forget_gain}: give a number in [0, {most:g}].")
    if radius is not None and not radius > 0:
        raise ValueError(f"radius={radius}: give a number > 0, or None.")

    def combine(gradients: dict[str, Any], losses: dict[str, jax.Array], progress: Any) -> Any:
        del losses, progress
        retain, forget = direction_of(gradients["retain"]), direction_of(gradients["forget"])
        length = retain.norm if radius is None else jnp.full_like(retain.norm, radius)
        reach = length * forget.norm
        absolute = jnp.where(reach > 0, forget_gain / jnp.where(reach > 0, reach, 1), jnp.inf)
        # Where there is nothing to climb, a gain of nothing is no constraint.
        none = (forget.norm == 0) if relative else jnp.full((), forget_gain == 0)
        cosine = jnp.where(none, 0, forget_gain if relative else absolute)
        step = _cheapest(retain.unit, forget.unit, cosine)
        scale = jnp.where(cosine <= 1, -length, 0)
        return jax.tree.map(lambda leaf: scale * leaf, step)

    objectives = (Objective("forget", "forget"), Objective("retain", "retain"))
    return Method("HAMU", objectives, (), combine=combine)


def _cheapest(retain: Any, forget: Any, cosine: jax.Array) -> Any:
    """The unit vector furthest from ``retain`` of at least this cosine to ``forget``."""
    along = jnp.asarray(optax.tree.vdot(retain, forget))
    across = direction_of(add_scaled(retain, -along, forget))
    cosine = jnp.clip(cosine, 0, 1)
    side = jnp.where(across.norm > _PARALLEL, jnp.sqrt(1 - cosine * cosine), 0)
    enough = -along >= cosine
    return jax.tree.map(
        lambda r, f, a: jnp.where(enough, -r, cosine * f - side * a),
        retain,
        forget,
        across.unit,
    )
