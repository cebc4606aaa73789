"""Whole unlearning steps: the plain method, the feasible update, and one with a certificate."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from moments_models import Architecture
from step_timing import Ready, compiled, timed

from feasible_jax.experiments import make_feasibility, make_method
from feasible_jax.methods import Problem
from feasible_jax.unlearning.step import (
    Fixed,
    certificate_states,
    certified_constraints,
    first_state,
    make_limits,
    make_step,
    merged_requirements,
)


class Arm(NamedTuple):
    """A way to take a NegGrad+ step.

    Attributes:
      label: the name in tables.
      feasibility: the arm of ``make_feasibility``.
      certify_share: examples of the certificate over those of a batch.
      target: what the ratio to the plain step should not exceed.
    """

    label: str
    feasibility: str
    certify_share: int = 0
    target: float | None = None


ARMS = {
    "plain": Arm("plain", "plain"),
    "feasible": Arm("feasible", "feasible", target=1.6),
    "certified": Arm("certified, on B examples", "certified", 1, target=2.0),
    "certified_4": Arm("certified, on 4B examples", "certified", 4, target=2.0),
}


def cells(
    model: Architecture, batch_size: int, seconds: float, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """A row for each arm on one model; all are timed in one run, in turn."""
    ready = {}
    for name, arm in ARMS.items():
        say(f"compiling {arm.label}")
        ready[name] = _prepare(model, arm, batch_size)
    say("timing")
    found = timed(ready, seconds)
    about = {"model": model.name, "title": model.title, "parameters": model.parameters()}
    return [
        about
        | {"batch_size": batch_size, "arm": name, "label": arm.label, "target": arm.target}
        | {"ratio": found[name]["seconds"] / found["plain"]["seconds"]}
        | {"certificate_tests": _certificate_tests(ready[name])}
        | found[name]
        for name, arm in ARMS.items()
    ]


def _prepare(model: Architecture, arm: Arm, batch_size: int) -> Ready:
    params = model.init()
    parts = [optax.sgd(0.01), make_feasibility(arm.feasibility)]
    tx = optax.with_extra_args_support(optax.chain(*[part for part in parts if part is not None]))
    opt_state = jax.tree.map(jnp.asarray, tx.init(params))
    step = make_step(
        Problem(model.loss_fn, None, None),
        make_method("neg_grad_plus", 10),
        tx,
        merged_requirements(opt_state),
        batch_size=batch_size,
        strategy="auto",
        certified=certified_constraints(opt_state),
        certify_batch_size=arm.certify_share * batch_size,
    )
    # Enough to draw from; a step costs the same however large the sets are.
    examples = jax.tree.map(jnp.asarray, model.batch(8 * batch_size))
    data = {
        "forget": jax.tree.map(lambda leaf: leaf[:batch_size], examples),
        "retain": jax.tree.map(lambda leaf: leaf[batch_size:], examples),
    }
    state = first_state(params, opt_state, jax.random.key(1))
    return compiled(step, state, data, Fixed(params), make_limits(100))


def _certificate_tests(ready: Ready) -> int | None:
    """How many sizes of the step the certificate tried; None without one."""
    after, record = ready.first
    assert bool(record.alive), "the step was not finite: its time means nothing"
    states = certificate_states(after.opt_state)
    return int(states[-1].tests) if states else None
