"""SFRon: adaptive ascent on the parameters of the forget set, and repair in between."""

from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.methods.method import Method, Objective, Prepared, Problem
from feasible_jax.methods.set_gradients import mean_squares, set_moments

# Below this an example's loss is rounding, and its weight is capped.
_LEAST_LOSS = 1e-6


def sfron(
    temperature: float = 0.5,
    threshold: float = 1.0,
    ascent_weight: float = 1.0,
    repair_steps: int = 5,
    mask_repair: bool = False,
) -> Method:
    """Alternate one step up ``mean CE^(1 - lambda)(forget)`` with steps down ``mean CE(retain)``.

    SFR-on of Huang et al. (2024).
    """

    def adaptive(problem: Problem, params, example, key):
        del key
        mask, chosen = problem.extras, params
        if not mask_repair:
            chosen = jax.tree.map(
                lambda m, p: jnp.where(m > 0, p, jax.lax.stop_gradient(p)), mask, params
            )
        loss = problem.loss_fn(chosen, example)
        return loss * jax.lax.stop_gradient(jnp.maximum(loss, _LEAST_LOSS)) ** -temperature

    def prepare(problem: Problem, data: dict[str, Any], key: jax.Array) -> Prepared:
        del key
        forget, retain = (
            mean_squares(set_moments(problem.loss_fn, problem.original_params, data[name]))
            for name in ("forget", "retain")
        )
        mask = jax.tree.map(lambda f, r: (f >= threshold * r).astype(jnp.float32), forget, retain)
        return Prepared(mask, mask=mask if mask_repair else None)

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
