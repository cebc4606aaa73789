"""The rules beside each other, each against coordinatewise on the same evidence."""

from functools import partial
from typing import Any

from step_evidence import Proposed, propose, propose_per_example
from step_timing import Ready, compiled, timed

import feasible_jax as fj

_EXAMPLES = 16  # of the rules that need each example's gradient
_DECAY = 0.9
_averaged = partial(fj.coordinatewise, evidence_decay=_DECAY)


# By label; the first of a family is what its others are divided by.
_FREE = {
    "coordinatewise()": fj.coordinatewise(),
    "coordinatewise(curvature=1000)": fj.coordinatewise(curvature=1000.0),
    "coordinatewise(soft=True)": fj.coordinatewise(soft=True),
    'coordinatewise(multiplicity="bonferroni")': fj.coordinatewise(multiplicity="bonferroni"),
    'coordinatewise(multiplicity="benjamini_hochberg")': fj.coordinatewise(
        multiplicity="benjamini_hochberg"
    ),
    "budget(curvature=1000)": fj.budget(curvature=1000.0, evidence_decay=0.0),
    "projection()": fj.projection(),
    "sign_agreement()": fj.sign_agreement(),
    "random_mask(0.5)": fj.random_mask(0.5),
    f"groupwise(), {_EXAMPLES} gradients": fj.groupwise(),
}
_OVER_TIME = {
    "coordinatewise()": _averaged(),
    "coordinatewise(curvature=1000)": _averaged(curvature=1000.0),
    'coordinatewise(curvature="adaptive")': _averaged(curvature="adaptive"),
    'coordinatewise(curvature="adaptive", soft=True)': _averaged(curvature="adaptive", soft=True),
    "budget(curvature=1000)": fj.budget(curvature=1000.0, evidence_decay=_DECAY),
    "budget()": fj.budget(evidence_decay=_DECAY),
    "projection()": fj.projection(evidence_decay=_DECAY),
}
FAMILIES = {0.0: _FREE, _DECAY: _OVER_TIME}


def cells(parameters: int, seconds: float) -> list[dict[str, Any]]:
    """A row for each rule; all are timed in one run, in turn."""
    proposed = propose(parameters)
    per_example = propose_per_example(parameters, _EXAMPLES)
    ready = {
        (decay, label): _prepare(rule, proposed, per_example)
        for decay, rules in FAMILIES.items()
        for label, rule in rules.items()
    }
    found = timed(ready, seconds)
    first = {decay: next(iter(rules)) for decay, rules in FAMILIES.items()}
    return [
        {"parameters": parameters, "evidence_decay": decay, "label": label}
        | {"ratio": each["seconds"] / found[decay, first[decay]]["seconds"]}
        | each
        for (decay, label), each in found.items()
    ]


def _prepare(rule: Any, proposed: Proposed, per_example: dict[str, Any]) -> Ready:
    tx = fj.feasible_updates(decrease=("retain",), increase=("forget",), rule=rule)
    evidence = per_example if rule.needs == "per_example" else proposed.evidence

    def transform(updates, state, params, evidence):
        return tx.update(updates, state, params, **evidence)

    args = proposed.updates, tx.init(proposed.params), proposed.params, evidence
    ready = compiled(transform, *args)
    # What learns from earlier steps has learnt nothing at the first.
    for _ in range(3):
        updates, _, *rest = ready.args
        _, state = ready.call()
        ready = ready._replace(args=(updates, state, *rest))
    return ready
