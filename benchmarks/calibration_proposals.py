"""The updates that a base method proposes on one draw of batches, under every selection rule."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import optax
from calibration_task import BASES, Setting, load_task
from jax.flatten_util import ravel_pytree

import feasible_jax as fj
from feasible_jax.methods import Problem
from feasible_jax.unlearning.batches import draw_batch
from feasible_jax.unlearning.observation import method_gradient, observe

# Of the tests, and how many examples of each set choose the update.
CONFIDENCE, CHOOSING = 0.95, 64

# The share that the coordinatewise test keeps is about this.
_DENSITY = 0.2
# The rate at which an adaptive price starts.
_CURVATURE = 1000.0

RULES: dict[str, Callable[[jax.Array], fj.Rule] | None] = {
    "no mask": None,
    "random mask": lambda seed: fj.random_mask(_DENSITY, seed),
    "sign mask": lambda seed: fj.sign_agreement(),
    "coordinatewise": lambda seed: fj.coordinatewise(),
    "coordinatewise, Bonferroni": lambda seed: fj.coordinatewise(multiplicity="bonferroni"),
    "coordinatewise, Benjamini-Hochberg": lambda seed: fj.coordinatewise(
        multiplicity="benjamini_hochberg"
    ),
    "coordinatewise, curvature": lambda seed: fj.coordinatewise(curvature=_CURVATURE),
    "coordinatewise, soft": lambda seed: fj.coordinatewise(soft=True),
    "budget": lambda seed: fj.budget(curvature=_CURVATURE, evidence_decay=0.0),
    "projection": lambda seed: fj.projection(),
}


@cache
def proposals(setting: Setting, scenario: str, base: str, rules: tuple[str, ...]) -> Callable:
    """A jitted function ``(params, key) -> (updates, retain batch)``.

    Updates are ``(rules, P)``, flat: each rule selects from the same proposal on the same evidence,
    the batch that is returned.
    """
    task, (method, learning_rate) = load_task(setting, scenario), BASES[base]
    retain, forget = jax.tree.map(jnp.asarray, (task.retain, task.forget))
    problem = Problem(task.loss_fn, task.predict_fn, task.params)
    names = tuple(objective.name for objective in method.objectives)
    optimizer = optax.sgd(learning_rate)

    def propose(params: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        forget_key, retain_key, loss_key, mask_key = jax.random.split(key, 4)
        batches = {
            "forget": draw_batch(forget_key, forget, CHOOSING),
            "retain": draw_batch(retain_key, retain, CHOOSING),
        }
        seen = {"retain": observe(task.loss_fn, params, batches["retain"], "moments", "auto")}
        _, gradient = method_gradient(
            method, problem, params, batches, {}, seen, jnp.zeros(()), loss_key, names
        )
        plain, _ = optimizer.update(gradient, optimizer.init(params))
        seed = jax.random.randint(mask_key, (), 0, 2**30)
        found = []
        for name in rules:
            updates, make = plain, RULES[name]
            if make is not None:
                tx = fj.feasible_updates(
                    decrease=("retain",), confidence=CONFIDENCE, rule=make(seed)
                )
                updates, _ = tx.update(
                    plain, tx.init(params), params, retain=seen["retain"].evidence
                )
            found.append(ravel_pytree(updates)[0])
        return jnp.stack(found), batches["retain"]

    return jax.jit(propose)
