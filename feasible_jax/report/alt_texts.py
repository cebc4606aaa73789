"""What the pictures show, for those who do not see them."""

from collections.abc import Mapping, Sequence
from typing import Any

from feasible_jax.report.aggregate import mean_over_seeds
from feasible_jax.report.groups import PLAIN, Group, by_scenario, find
from feasible_jax.report.losses import overlap
from feasible_jax.report.wording import number, scenario_title


def tradeoff_alt(groups: Sequence[Group]) -> str:
    """Forget and test accuracy of the references, the plain and the feasible arms.

    >>> rows = ({"seed": 0, "forget_accuracy": 90.5, "test_accuracy": 86.6},)
    >>> tradeoff_alt([Group("random", "retrained", "reference", False, rows)])
    'Forget and test accuracy in percent. Random examples: retrained 90.5 and 86.6.'
    """
    sentences = ["Forget and test accuracy in percent."]
    for scenario, members in by_scenario(groups).items():
        shown = [g for g in members if g.is_reference or g.feasible or g.arm == PLAIN]
        models = "; ".join(f"{_name(g)} {_point(g)}" for g in shown)
        sentences.append(f"{scenario_title(scenario)}: {models}.")
    return " ".join(sentences)


def kept_alt(entries: Sequence[Mapping[str, Any]], groups: Sequence[Group]) -> str:
    """The range over the layers of the fraction kept at the last step.

    >>> entry = dict(scenario="random", method="NegGrad+", arm="feasible", steps=[1],
    ...              layers={"a": [0.5], "b": [0.25]})
    >>> kept_alt([entry], [Group("random", "NegGrad+", "feasible", True, ())])
    'Coordinates kept in the last step. Random examples, NegGrad+, feasible: 25 to 50% by layer.'
    """
    sentences = ["Coordinates kept in the last step."]
    for entry in entries:
        group = find(groups, **{key: entry[key] for key in ("scenario", "method", "arm")})
        last = [values[-1] for values in entry["layers"].values() if len(values)]
        last = [100 * value for value in last if value is not None]
        if group is not None and group.feasible and last:
            sentences.append(f"{_title(entry)}: {min(last):.0f} to {max(last):.0f}% by layer.")
    return " ".join(sentences)


def losses_alt(entries: Sequence[Mapping[str, Any]], groups: Sequence[Group]) -> str:
    """How much the losses of forget and test examples overlap in each model.

    >>> entry = dict(scenario="random", method="original", arm="reference", forget=[1.0, 0.0],
    ...              test=[0.5, 0.5])
    >>> losses_alt([entry], [])
    'Overlap of the losses of forget and test examples, at most 1. Random examples, original: 0.50.'
    """
    controls = {g[:3] for g in groups if not (g.is_reference or g.feasible or g.arm == PLAIN)}
    sentences = ["Overlap of the losses of forget and test examples, at most 1."]
    for entry in entries:
        if (entry["scenario"], entry["method"], entry["arm"]) not in controls:
            sentences.append(f"{_title(entry)}: {overlap(entry):.2f}.")
    return " ".join(sentences)


def _title(entry: Mapping[str, Any]) -> str:
    arm = "" if entry["arm"] == "reference" else f", {entry['arm']}"
    return f"{scenario_title(entry['scenario'])}, {entry['method']}{arm}"


def _name(group: Group) -> str:
    return group.method if group.is_reference else f"{group.method}, {group.arm},"


def _point(group: Group) -> str:
    values = [mean_over_seeds(group, f"{name}_accuracy") for name in ("forget", "test")]
    return f"{number(values[0])} and {number(values[1])}"
