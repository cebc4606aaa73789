"""Rows of the same scenario, method and arm, gathered over seeds, in the order of the table."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

REFERENCES = ("original", "retrained")
PLAIN = "plain"
_KEYS = ("scenario", "method", "arm", "seed")
_CONTROLS_FIRST = ("random mask", "sign mask")


class Group(NamedTuple):
    """The seeds of one (scenario, method, arm).

    Attributes:
      scenario: its name.
      method: ``"original"``, ``"retrained"``, or a base method.
      arm: ``"reference"``, ``"plain"``, a control, or a feasible arm.
      feasible: whether the arm tests its updates.
      rows: one a seed, by ascending seed.

    >>> Group("random", "original", "reference", False, ()).is_reference
    True
    """

    scenario: str
    method: str
    arm: str
    feasible: bool
    rows: tuple[dict[str, Any], ...]

    @property
    def is_reference(self) -> bool:
        """Whether this is a model to compare to, not an unlearned one."""
        return self.method in REFERENCES


def group_rows(rows: Iterable[dict[str, Any]]) -> list[Group]:
    """Gathers rows over seeds.

    Args:
      rows: as in ``Run.rows``.

    Returns:
      Groups in table order: scenarios as they first appear; in each the original, the retrained
      model, then the methods as they first appear; in each the plain arm, controls, feasible arms.

    Raises:
      ValueError: if a row misses ``scenario``, ``method``, ``arm`` or ``seed``, or two rows share
        all four.

    >>> row = dict(scenario="random", method="NegGrad+", arm="plain", feasible=False)
    >>> [group] = group_rows([row | {"seed": 1}, row | {"seed": 0}])
    >>> [row["seed"] for row in group.rows]
    [0, 1]
    """
    gathered: dict[tuple[str, str, str], dict[Any, dict[str, Any]]] = {}
    for i, row in enumerate(rows):
        missing = [key for key in _KEYS if row.get(key) is None]
        if missing:
            raise ValueError(f"row {i} has no {missing[0]!r}, only {sorted(row)}.")
        seeds = gathered.setdefault((row["scenario"], row["method"], row["arm"]), {})
        if row["seed"] in seeds:
            raise ValueError(
                f"row {i} is the second one of {[row[key] for key in _KEYS]}: "
                "report each dataset and model in a run of its own."
            )
        seeds[row["seed"]] = row
    return _in_table_order([_group(key, list(seeds.values())) for key, seeds in gathered.items()])


def by_scenario(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """The groups of each scenario, in the order given.

    >>> by_scenario([Group("class", "original", "reference", False, ())]).keys()
    dict_keys(['class'])
    """
    return _gather(groups, "scenario")


def by_method(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """The groups of each base method, in the order given, references left out.

    >>> by_method([Group("class", "original", "reference", False, ())])
    {}
    """
    return _gather([group for group in groups if not group.is_reference], "method")


def find(groups: Iterable[Group], **wanted: str) -> Group | None:
    """The first group with those attributes, or None.

    >>> find([Group("class", "retrained", "reference", False, ())], method="retrained").scenario
    'class'
    """
    matches = (g for g in groups if all(getattr(g, k) == v for k, v in wanted.items()))
    return next(matches, None)


def _group(key: tuple[str, str, str], rows: list[dict[str, Any]]) -> Group:
    feasible = any(row.get("feasible") for row in rows)
    return Group(*key, feasible, tuple(sorted(rows, key=lambda row: row["seed"])))


def _in_table_order(groups: list[Group]) -> list[Group]:
    scenarios = list(dict.fromkeys(group.scenario for group in groups))
    methods = list(dict.fromkeys((*REFERENCES, *(group.method for group in groups))))
    # sorted() is stable, so arms of the same rank stay as they first appeared.
    return sorted(
        groups, key=lambda g: (scenarios.index(g.scenario), methods.index(g.method), _arm_rank(g))
    )


def _arm_rank(group: Group) -> int:
    if group.arm == PLAIN:
        return 0
    if group.feasible:
        return len(_CONTROLS_FIRST) + 2
    known = group.arm in _CONTROLS_FIRST
    return 1 + (_CONTROLS_FIRST.index(group.arm) if known else len(_CONTROLS_FIRST))


def _gather(groups: Sequence[Group], attribute: str) -> dict[str, list[Group]]:
    gathered: dict[str, list[Group]] = {}
    for group in groups:
        gathered.setdefault(getattr(group, attribute), []).append(group)
    return gathered
