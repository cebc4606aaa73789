"""What must hold: named objectives that must not increase, or must not decrease."""

from collections.abc import Sequence
from typing import NamedTuple

from feasible_jax.alignment import DECREASE, INCREASE


class Constraint(NamedTuple):
    """One requirement on an update.

    Attributes:
      name: the objective's name, by which its evidence is passed to ``update``.
      sign: ``+1`` where the objective must not increase, ``-1`` where it must not decrease.

    >>> Constraint("retain", +1.0).name
    'retain'
    """

    name: str
    sign: float


def parse_constraints(
    decrease: str | Sequence[str], increase: str | Sequence[str]
) -> tuple[Constraint, ...]:
    """The constraints of an argument list, or a ``ValueError`` that says what is wrong with it."""
    decrease = (decrease,) if isinstance(decrease, str) else tuple(decrease)
    increase = (increase,) if isinstance(increase, str) else tuple(increase)
    names = decrease + increase
    if not names:
        raise ValueError(
            "no constraints: name at least one objective, as in decrease=('retain',) for one that "
            "must not increase or increase=('forget',) for one that must not decrease."
        )
    for name in names:
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(
                f"constraint {name!r} is not a name: its evidence is passed as a keyword argument."
            )
        if name in ("updates", "state", "params"):
            raise ValueError(
                f"constraint {name!r} is an argument of update() already: name it otherwise."
            )
        if names.count(name) > 1:
            raise ValueError(f"constraint {name!r} is named twice: an objective has one direction.")
    return tuple(Constraint(name, DECREASE) for name in decrease) + tuple(
        Constraint(name, INCREASE) for name in increase
    )
