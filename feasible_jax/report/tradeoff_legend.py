"""The legend of the trade-off picture."""

from collections.abc import Sequence

from matplotlib.lines import Line2D

from feasible_jax.report.groups import REFERENCES, Group
from feasible_jax.report.style import GREY, INK, arm_marks, method_colours
from feasible_jax.report.tradeoff_panel import REFERENCE_MARKS
from feasible_jax.report.wording import shortened

_MOST_COLUMNS = 4
_LABELS = {"original": "original model", "retrained": "retrained, the target"}


def legend_columns(groups: Sequence[Group]) -> list[list[Line2D]]:
    """The entries by column: references, then methods by colour, then arms by marker.

    Args:
      groups: as ``group_rows`` returns them.

    Returns:
      At most four columns of equal length, at least one; empty entries fill them up.

    >>> [[entry]] = legend_columns([Group("random", "original", "reference", False, ())])
    >>> entry.get_label()
    'original model'
    """
    kinds = [kind for kind in (_references(groups), _methods(groups), _arms(groups)) if kind]
    height = 1
    while sum(-(-len(kind) // height) for kind in kinds) > _MOST_COLUMNS:
        height += 1
    columns = [kind[i : i + height] for kind in kinds for i in range(0, len(kind), height)]
    return [column + [_empty()] * (height - len(column)) for column in columns or [[]]]


def _references(groups: Sequence[Group]) -> list[Line2D]:
    present = {group.method for group in groups}
    return [
        _marker(INK, *REFERENCE_MARKS[name], INK, _LABELS[name])
        for name in REFERENCES
        if name in present
    ]


def _methods(groups: Sequence[Group]) -> list[Line2D]:
    return [
        Line2D([], [], color=colour, lw=4, solid_capstyle="round", label=_shown(method))
        for method, colour in method_colours(groups).items()
    ]


def _arms(groups: Sequence[Group]) -> list[Line2D]:
    present = {group.arm for group in groups}
    return [
        _marker(GREY, mark.marker, mark.size, GREY if mark.filled else "none", _shown(arm))
        for arm, mark in arm_marks(groups).items()
        if arm in present
    ]


def _marker(colour: str, marker: str, size: float, fill: str, label: str) -> Line2D:
    look = {"color": colour, "markerfacecolor": fill}
    return Line2D([], [], marker=marker, markersize=0.85 * size, ls="", label=label, **look)


def _empty() -> Line2D:
    return Line2D([], [], ls="", label=" ")


def _shown(name: str) -> str:
    # matplotlib leaves labels that start with an underscore out of a legend.
    return shortened(f" {name}" if name.startswith("_") else name, 24)
