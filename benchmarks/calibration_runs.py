"""Whole runs: how many of the updates that were applied raised the loss of the retain set."""

from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from calibration_proposals import CHOOSING, CONFIDENCE
from calibration_rules import CERTIFYING
from calibration_task import BASES, Setting, load_task
from calibration_truth import losses

import feasible_jax as fj
from feasible_jax.evaluation import predict
from feasible_jax.evaluation.utility_fall import utility_fall

_SOFT = fj.coordinatewise(curvature="adaptive", soft=True, evidence_decay=0.9)


# A mask that goes far gathers evidence first; its learning rate then rises over so many steps.
_WARMUP, _RAMP = 20, 50


class Arm(NamedTuple):
    """What comes after the optimizer: a rule or None; a certificate's tolerance in nats, or None
    for no certificate; whether its level is earned by what passes; and the learning rate that a
    priced mask goes up to, at a confidence of one half and over twice as many steps, or None for
    the base method's.
    """

    rule: fj.Rule | None
    tolerance: float | None = None
    earned: bool = False
    far: float | None = None


_RULES = {
    "no mask": None,
    "coordinatewise": fj.coordinatewise(),
    "budget": fj.budget(),
    "soft, curvature": _SOFT,
}
_FAR = Arm(fj.coordinatewise(curvature=200.0, evidence_decay=0.9), far=30.0)
ARMS = {name: Arm(rule) for name, rule in _RULES.items() if rule is not None}
ARMS |= {f"{name}, certified": Arm(rule, 0.0) for name, rule in _RULES.items()}
ARMS |= {
    f"soft, curvature, tolerance {tolerance:g}, certified": Arm(_SOFT, tolerance)
    for tolerance in (1e-4, 1e-3)
}
ARMS |= {
    "curvature, rate 30": _FAR,
    "curvature, rate 30, tolerance 0.001, certified": _FAR._replace(tolerance=1e-3),
}
ARMS |= {
    f"{name}, online FDR": arm._replace(earned=True)
    for name, arm in ARMS.items()
    if arm.tolerance is not None
}


def cell(setting: Setting, scenario: str, base: str, arm: str, steps: int) -> dict[str, Any]:
    """One run of ``fj.unlearn``, every update of which is looked at with the whole retain set."""
    task, (method, learning_rate) = load_task(setting, scenario), BASES[base]
    last, rises = [task.params, losses(task, task.params)], []
    at_first = last[1].mean()

    def look(step: int, params: Any) -> None:
        pairs = zip(jax.tree.leaves(params), jax.tree.leaves(last[0]), strict=True)
        if any(np.any(np.asarray(new) != np.asarray(old)) for new, old in pairs):
            now = losses(task, params)
            rises.append(float((now - last[1]).mean()))
            last[:] = params, now

    rule, tolerance, earned, far = ARMS[arm]
    confidence, warmup = CONFIDENCE, 0
    if far is not None:
        confidence, warmup, steps = 0.5, _WARMUP, 2 * steps
        learning_rate = optax.linear_schedule(0.0, far, _RAMP, _WARMUP)
    parts = []
    if rule is not None:
        warmup = min(warmup, steps - 1)
        mask = fj.feasible_updates(
            decrease=("retain",), rule=rule, confidence=confidence, warmup_steps=warmup
        )
        parts.append(mask)
    if tolerance is not None:
        spending = fj.online_fdr() if earned else None
        parts.append(
            fj.certify_updates(
                decrease=("retain",), confidence=CONFIDENCE, tolerance=tolerance, spending=spending
            )
        )
    result = fj.unlearn(
        task.loss_fn, task.params, forget=task.forget, retain=task.retain, method=method,
        optimizer=optax.sgd(learning_rate), feasibility=optax.chain(*parts), steps=steps,
        batch_size=CHOOSING, certify_batch_size=CERTIFYING, chunk_size=1, on_chunk=look,
        progress=False,
    )  # fmt: skip
    about = {"scenario": scenario, "base": base, "arm": arm, "steps": len(result.history.kept)}
    about |= {"applied": len(rises), "loss_up": sum(rise > 0 for rise in rises)}
    about["beyond"] = sum(rise > (tolerance or 0.0) for rise in rises)
    about |= {"rise": float(f"{sum(max(rise, 0) for rise in rises):.4g}")}
    about |= {"retain_loss_before": float(f"{at_first:.4g}")}
    about |= {"retain_loss_after": float(f"{last[1].mean():.4g}")}
    for name in ("forget", "retain"):
        for when, params in (("before", task.params), ("after", result.params)):
            about[f"{name}_{when}"] = _accuracy(task, params, getattr(task, name))
    fall = utility_fall(task, result.params, predict(task.predict_fn, result.params, task.test))
    bound = fall["test_accuracy_fall_bound"]
    about["fall_bound"] = None if bound is None else float(f"{bound:.4g}")
    return about


def _accuracy(task: fj.Task, params: Any, examples: fj.Examples) -> float:
    predicted = np.asarray(task.predict_fn(params, examples.inputs)).argmax(-1)
    return round(100 * float(np.mean(predicted == np.asarray(examples.labels))), 2)
