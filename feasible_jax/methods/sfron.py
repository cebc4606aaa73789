"""SFRon: ascent on what matters to the forget set most, and repair in between."""

from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.methods.method import Method, Objective, Prepared, Problem
from feasible_jax.methods.set_gradients import set_gradients

# Below this an example's loss is rounding, and its weight is capped.
_LEAST_LOSS = 1e-6


def sfron(
    temperature: float = 0.5,
    threshold: float = 1.0,
    ascent_weight: float = 1.0,
    repair_steps: int = 5,
    mask_repair: bool = False,
) -> Method:
    """Alternate a masked, weighted step up the forget loss with steps down the retain loss.

    SFR-on of Huang et al. (2024). The ascent follows the mean of ``CE^-lambda grad CE`` over the
    forget set: an example weighs less once its loss is high. It moves the parameters alone that
    matter to the forget set at least as much as to the retain set, ``F_f >= gamma F_r``, with
    ``F`` the means of squared per-example gradients over the whole sets, before unlearning. Its
    weight fades over the run as half a cosine. Steps on the retain set in between repair the model;
    together they follow the geometry of the retain loss without its Hessian.

    Args:
      temperature: ``lambda``, >= 0; 0 for plain ascent.
      threshold: ``gamma``, >= 0; 0 for no mask.
      ascent_weight: of the ascent at the start, >= 0.
      repair_steps: retain steps after each step of ascent, >= 1.
      mask_repair: freeze what the mask leaves out altogether: retain steps, momentum and weight
        decay are masked as well. In the paper they are not.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if a value is out of its range.

    >>> method = sfron(repair_steps=2)
    >>> [int(method.schedule(step, 0.0)) for step in range(6)]
    [0, 1, 1, 0, 1, 1]
    """
    for name, value in (
        ("temperature", temperature),
        ("threshold", threshold),
        ("ascent_weight", ascent_weight),
    ):
        if not value >= 0:
            raise ValueError(f"{name}={value}: give a number >= 0.")
    if repair_steps < 1:
        raise ValueError(f"repair_steps={repair_steps}: give a whole number of at least 1.")

    def adaptive(problem: Problem, params, example, key):
        del key
        chosen = jax.tree.map(
            lambda keep, p: jnp.where(keep, p, jax.lax.stop_gradient(p)), problem.extras, params
        )
        loss = problem.loss_fn(chosen, example)
        return loss * jax.lax.stop_gradient(jnp.maximum(loss, _LEAST_LOSS)) ** -temperature

    def prepare(problem: Problem, data: dict[str, Any], key: jax.Array) -> Prepared:
        del key
        forget, retain = (
            set_gradients(problem.loss_fn, problem.original_params, data[name]).squares
            for name in ("forget", "retain")
        )
        mask = jax.tree.map(lambda f, r: f >= threshold * r, forget, retain)
        frozen = jax.tree.map(lambda keep: keep.astype(jnp.float32), mask)
        return Prepared(mask, mask=frozen if mask_repair else None)

    def fading(progress):
        return -ascent_weight * (1 + jnp.cos(jnp.pi * progress)) / 2

    objectives = (Objective("forget, adaptive", "forget", adaptive), Objective("retain", "retain"))
    return Method(
        "SFRon",
        objectives,
        (fading, 1.0),
        phases=(("forget, adaptive",), ("retain",)),
        schedule=lambda step, progress: jnp.minimum(step % (1 + repair_steps), 1),
        prepare=prepare,
    )
