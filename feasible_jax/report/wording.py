"""The names of scenarios and numbers, as people read them."""

import math
from collections.abc import Sequence

from feasible_jax.evaluation import MeanInterval
from feasible_jax.report.groups import Group

_TITLES = {
    "random": "Random examples",
    "class": "One class",
    "corrupted_labels": "Corrupted labels",
}
MISSING = "\N{EN DASH}"


def scenario_title(scenario: str) -> str:
    """The heading of a scenario; one it does not know keeps its name.

    >>> scenario_title("corrupted_labels")
    'Corrupted labels'
    """
    return _TITLES.get(scenario, scenario)


def has_wrong_labels(groups: Sequence[Group]) -> bool:
    """Whether the forget set was trained on wrong labels, so that it has two accuracies.

    >>> has_wrong_labels([Group("corrupted_labels", "original", "reference", False, ())])
    True
    """
    return any(
        group.scenario == "corrupted_labels" or row.get("forget_true_accuracy") is not None
        for group in groups
        for row in (group.rows or ({},))
    )


def number(interval: MeanInterval | None, digits: int = 1) -> str:
    """A mean without its interval.

    >>> number(MeanInterval(85.04, 0.3, 3)), number(None)
    ('85.0', '–')
    """
    return MISSING if interval is None else fixed(interval.mean, digits)


def fixed(value: float, digits: int = 1) -> str:
    """A number with so many digits, never a negative zero.

    >>> fixed(-0.01)
    '0.0'
    """
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def at_most(value: float, digits: int = 1) -> str:
    """An upper bound with so many digits, rounded up so that it remains one.

    >>> at_most(0.31), at_most(-0.39)
    ('0.4', '-0.3')
    """
    # What is a digit too many only by its binary representation is not rounded up.
    return fixed(math.ceil(value * 10**digits - 1e-9) / 10**digits, digits)


def below_original(bounds: Sequence[float], confidence: float = 0.95) -> str:
    """How far test accuracy fell, at most, in words.

    Args:
      bounds: ``test_accuracy_fall_bound`` of every seed, at least one.
      confidence: of each bound.

    Returns:
      A part of a sentence on the worst seed.

    >>> below_original([1.18])
    'at most 1.2 points below the original, 95% confidence'
    >>> below_original([0.2, -0.33])
    'at most 0.2 points below the original in every seed, 95% confidence each'
    >>> below_original([-0.33])
    'at least 0.3 points above the original, 95% confidence'
    """
    shown = at_most(max(bounds))
    above = shown.startswith("-")
    distance = f"at least {shown[1:]} points above" if above else f"at most {shown} points below"
    where, each = (" in every seed", " each") if len(bounds) > 1 else ("", "")
    return f"{distance} the original{where}, {100 * confidence:g}% confidence{each}"


def counted(count: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "seed"), counted(3, "seed")
    ('one seed', '3 seeds')
    """
    return f"one {noun}" if count == 1 else f"{count} {noun}s"


def shortened(text: str, length: int) -> str:
    """The text, cut where it is longer than there is room for.

    >>> shortened("gradient ascent", 9)
    'gradient…'
    """
    return text if len(text) <= length else f"{text[: length - 1]}…"


def joined(names: Sequence[str]) -> str:
    """A list of at least one name, in words.

    >>> joined(["RA", "TA", "MIA"])
    'RA, TA and MIA'
    """
    *firsts, last = names
    return f"{', '.join(firsts)} and {last}" if firsts else last
