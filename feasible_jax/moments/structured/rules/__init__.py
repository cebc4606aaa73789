"""Closed forms, one primitive a file."""

from typing import Any

from feasible_jax.moments.structured.rules import convolution, dot_general, lookup

_RULES = {
    "dot_general": dot_general,
    "conv_general_dilated": convolution,
    "gather": lookup,
    "dynamic_slice": lookup,
}


def find_rule(op: Any, plan: Any) -> Any:
    """The closed form of an operation, or None where it has none."""
    rule = _RULES.get(op.name)
    return rule if rule is not None and rule.applies(op, plan) else None
