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
from feasible_jax.unlearning.observation import Observation, method_gradient, observe

# Of the tests, and how many examples of each set choose the update.
CONFIDENCE, CHOOSING = 0.95, 64

# The share that the coordinatewise test keeps is about this.
_DENSITY = 0.2
# The rate at which an adaptive price starts.
_CURVATURE = 1000.0

# Of a synthetic update, all alike, in standard deviations of the gradient: a price of 1000 for the
# finite step is then a tenth of the noise of 1024 examples, and less of fewer.
COORDINATES, STEP = 20, 1e-5

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

# Those whose level is meant to bound what each lets pass: the three controls have none, and that of
# the budget is for a mask that is fixed in advance.
WITH_A_LEVEL = tuple(
    name for name in RULES if name not in ("no mask", "random mask", "sign mask", "budget")
)


def select(
    rule: str, updates: Any, evidence: Any, seed: jax.Array | int, confidence: Any = CONFIDENCE
) -> Any:
    """What a rule by name lets pass of updates, on evidence of the retain set."""
    if (make := RULES[rule]) is None:
        return updates
    tx = fj.feasible_updates(decrease=("retain",), confidence=confidence, rule=make(seed))
    return tx.update(updates, tx.init(updates), updates, retain=evidence)[0]


@cache
def proposal(setting: Setting, scenario: str, base: str) -> Callable:
    """What the base method proposes, ``(params, seen, batches, key) -> updates``, not jitted.

    ``seen`` is an ``Observation`` of the retain set; ``batches`` are those of forget and retain,
    the latter None where the method takes no more of it than what was seen.
    """
    task, (method, learning_rate) = load_task(setting, scenario), BASES[base]
    problem = Problem(task.loss_fn, task.predict_fn, task.params)
    names = tuple(objective.name for objective in method.objectives)
    optimizer = optax.sgd(learning_rate)

    def propose(params: Any, seen: Observation, batches: dict[str, Any], key: jax.Array) -> Any:
        _, gradient = method_gradient(
            method, problem, params, batches, {}, {"retain": seen}, jnp.zeros(()), key, names
        )
        return optimizer.update(gradient, optimizer.init(params))[0]

    return propose


@cache
def proposals(setting: Setting, scenario: str, base: str, rules: tuple[str, ...]) -> Callable:
    """A jitted function ``(params, key) -> (updates, retain batch)``.

    Updates are ``(rules, P)``, flat: each rule selects from the same proposal on the same evidence,
    the batch that is returned.
    """
    task, propose = load_task(setting, scenario), proposal(setting, scenario, base)
    retain, forget = jax.tree.map(jnp.asarray, (task.retain, task.forget))

    def select_from_one(params: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        forget_key, retain_key, loss_key, mask_key = jax.random.split(key, 4)
        batches = {
            "forget": draw_batch(forget_key, forget, CHOOSING),
            "retain": draw_batch(retain_key, retain, CHOOSING),
        }
        seen = observe(task.loss_fn, params, batches["retain"], "moments", "auto")
        plain = propose(params, seen, batches, loss_key)
        seed = jax.random.randint(mask_key, (), 0, 2**30)
        found = [ravel_pytree(select(name, plain, seen.evidence, seed))[0] for name in rules]
        return jnp.stack(found), batches["retain"]

    return jax.jit(select_from_one)
