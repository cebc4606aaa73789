"""What an arm gains over the plain form of the same method, paired over seeds."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from scipy.stats import binomtest

from feasible_jax.evaluation import MeanInterval, mean_interval
from feasible_jax.report.groups import PLAIN, REFERENCES

# Differences smaller than this many points are none: less than one example of most sets.
_TIE = 1e-9
_SIGNIFICANT = 0.05


class Gain(NamedTuple):
    """The differences of one configuration and arm to the plain arm.

    Attributes:
      dataset: of the task.
      model: of the task.
      scenario: what was forgotten.
      method: the base method.
      arm: how it ran.
      by_seed: ``arm - plain`` for every seed that both have.

    >>> Gain("digits", "mlp", "random", "NegGrad+", "feasible", {0: 1.0, 1: 3.0}).mean
    2.0
    """

    dataset: str
    model: str
    scenario: str
    method: str
    arm: str
    by_seed: dict[int, float]

    @property
    def configuration(self) -> tuple[str, str, str, str]:
        """What the arms of a comparison have in common."""
        return self[:4]

    @property
    def mean(self) -> float:
        """Over seeds."""
        return math.fsum(self.by_seed.values()) / len(self.by_seed)


def gains(rows: Iterable[dict[str, Any]], metric: str) -> list[Gain]:
    """The differences of a yardstick between every arm and the plain one.

    Args:
      rows: of a suite, with ``dataset``, ``model``, ``scenario``, ``method``, ``arm``, ``seed``.
      metric: a key of the rows; rows without a finite value are left out.

    Returns:
      One ``Gain`` a configuration and arm, in the order of the rows.

    >>> about = dict(dataset="digits", model="mlp", scenario="random", method="FT", seed=0)
    >>> rows = [about | dict(arm="plain", tow=0.5), about | dict(arm="feasible", tow=0.75)]
    >>> gains(rows, "tow")[0].by_seed
    {0: 0.25}
    """
    values: dict[tuple, dict[str, dict[int, float]]] = {}
    for row in rows:
        value = row.get(metric)
        if row["method"] in REFERENCES or value is None or not math.isfinite(value):
            continue
        values.setdefault(configuration_of(row), {}).setdefault(row["arm"], {})[row["seed"]] = (
            float(value)
        )
    found = []
    for (dataset, model, scenario, method), arms in values.items():
        plain = arms.get(PLAIN, {})
        for arm, ours in arms.items():
            shared = {seed: ours[seed] - plain[seed] for seed in sorted(ours) if seed in plain}
            if arm != PLAIN and shared:
                found.append(Gain(dataset, model, scenario, method, arm, shared))
    return found


def configuration_of(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """What the arms of a comparison have in common.

    >>> configuration_of({"dataset": "d", "model": "m", "scenario": "s", "method": "FT", "seed": 0})
    ('d', 'm', 's', 'FT')
    """
    return row["dataset"], row["model"], row["scenario"], row["method"]


def set_apart(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, where methods that ran plain alone have an arm of their own, called like them.

    So nothing is averaged over them and methods that ran in other arms too.

    >>> about = dict(dataset="digits", model="mlp", method="SSD", arm="plain")
    >>> set_apart([about])[0]["arm"], set_apart([about, about | dict(arm="feasible")])[0]["arm"]
    ('SSD', 'plain')
    """
    arms: dict[tuple, set[str]] = {}
    for row in rows:
        arms.setdefault(_run_on(row), set()).add(row["arm"])
    return [row | {"arm": row["method"]} if arms[_run_on(row)] == {PLAIN} else row for row in rows]


def is_apart(row: dict[str, Any]) -> bool:
    """Whether ``set_apart`` gave a row an arm of its own."""
    return row["arm"] == row["method"]


def by_data(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The rows of every dataset and model.

    >>> list(by_data([dict(dataset="digits", model="mlp")]))
    [('digits', 'mlp')]
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["dataset"], row["model"]), []).append(row)
    return found


def _run_on(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["dataset"], row["model"], row["method"]


def utility_fall_of(row: dict[str, Any]) -> float | None:
    """The fall of test accuracy; what is still the original model has lost nothing.

    >>> utility_fall_of({"steps": 0, "test_accuracy_fall": None})
    0.0
    """
    return 0.0 if row.get("steps") == 0 else row.get("test_accuracy_fall")


def utility_fall_p(row: dict[str, Any]) -> float | None:
    """The p-value against a fall of more than half a point; the original model has none at all.

    >>> utility_fall_p({"steps": 0, "test_accuracy_fall_p": None})
    0.0
    """
    return 0.0 if row.get("steps") == 0 else row.get("test_accuracy_fall_p")


def over_configurations(some: Sequence[Gain]) -> MeanInterval | None:
    """The mean over configurations of their means over seeds, with its 95% Student interval.

    Configurations are taken for a sample of methods, scenarios and data, not seeds of one another.
    """
    return mean_interval([gain.mean for gain in some]) if some else None


class Signs(NamedTuple):
    """How often an arm is better than the plain form, and worse.

    Attributes:
      better: number of pairs of runs of the same seed.
      worse: likewise.
      ties: likewise.
      p_value: of the two-sided sign test that both are as likely; 1 where all are ties.

    >>> Signs(5, 0, 0, 0.0625).better
    5
    """

    better: int
    worse: int
    ties: int
    p_value: float


def signs(some: Sequence[Gain]) -> Signs:
    """The sign test over all pairs of several configurations.

    >>> signs([Gain("d", "m", "random", "FT", "feasible", {0: 1.0, 1: 2.0, 2: 0.0})])
    Signs(better=2, worse=0, ties=1, p_value=0.5)
    """
    differences = [d for gain in some for d in gain.by_seed.values()]
    better, worse = sum(d > _TIE for d in differences), sum(d < -_TIE for d in differences)
    tested = better + worse
    p = float(binomtest(better, tested).pvalue) if tested else 1.0
    return Signs(better, worse, len(differences) - tested, p)


class Verdicts(NamedTuple):
    """How many configurations an arm improves, leaves unchanged, and makes worse.

    Attributes:
      improved: those whose pairs are better in a one-sided sign test at 5%: with five seeds, all.
      unchanged: those that are neither.
      worse: those whose pairs are worse in such a test.

    >>> Verdicts(3, 2, 0).improved
    3
    """

    improved: int
    unchanged: int
    worse: int


def verdicts(some: Sequence[Gain]) -> Verdicts:
    """Judge every configuration by its own seeds.

    >>> always = Gain("d", "m", "random", "FT", "feasible", dict.fromkeys(range(5), 1.0))
    >>> verdicts([always, always._replace(by_seed={0: -1.0})])
    Verdicts(improved=1, unchanged=1, worse=0)
    """
    improved = worse = 0
    for gain in some:
        found = signs([gain])
        tested = found.better + found.worse
        if not tested:
            continue
        improved += binomtest(found.better, tested, alternative="greater").pvalue < _SIGNIFICANT
        worse += binomtest(found.worse, tested, alternative="greater").pvalue < _SIGNIFICANT
    return Verdicts(int(improved), len(some) - int(improved) - int(worse), int(worse))


def arms_of(some: Iterable[Gain]) -> dict[str, list[Gain]]:
    """Gains by arm, in their order."""
    found: dict[str, list[Gain]] = {}
    for gain in some:
        found.setdefault(gain.arm, []).append(gain)
    return found
