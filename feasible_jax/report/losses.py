"""The loss picture: can one tell the forget set from examples never trained on?"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from feasible_jax.report.groups import PLAIN, REFERENCES, Group, by_method, by_scenario
from feasible_jax.report.style import GREY, INK, drawing, method_colours
from feasible_jax.report.wording import scenario_title, shortened

_WIDTH, _ROW, _TOP, _BOTTOM, _HEAD = 8.0, 1.0, 0.05, 0.85, 0.36
_LEFT, _RIGHT, _GAP = 0.25, 0.1, 0.14
_TEST = "#c4cbd3"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Entries = dict[tuple[str, str, str], Mapping[str, Any]]


class LossRow(NamedTuple):
    """One row of panels.

    Attributes:
      scenario: its name.
      method: the base method; None for a scenario that has references alone.
      panels: the heading and the histogram of each column; None where there is none.

    >>> LossRow("random", "NegGrad+", (("original", None),)).method
    'NegGrad+'
    """

    scenario: str
    method: str | None
    panels: tuple[tuple[str, Mapping[str, Any] | None], ...]


def losses_figure(entries: Sequence[Mapping[str, Any]], groups: Sequence[Group]) -> Figure | None:
    """Loss histograms of forget and test examples, a row a method, a column a model.

    Args:
      entries: ``Run.curves["histograms"]``; those of controls are not drawn.
      groups: as ``group_rows`` returns them.

    Returns:
      A figure; None where there is nothing to draw.

    >>> entry = dict(scenario="random", method="original", arm="reference", edges=[0.1, 1.0, 10.0],
    ...              forget=[1.0, 0.0], test=[0.5, 0.5])
    >>> group = Group("random", "original", "reference", False, ())
    >>> losses_figure([entry], [group]).axes[0].get_xscale()
    'log'
    """
    rows = loss_rows(entries, groups)
    if not rows:
        return None
    with drawing():
        return _figure(rows, method_colours(groups))


def loss_rows(entries: Sequence[Mapping[str, Any]], groups: Sequence[Group]) -> list[LossRow]:
    """Which histogram goes where.

    >>> loss_rows([], [])
    []
    """
    found: Entries = {(e["scenario"], e["method"], e["arm"]): e for e in entries}
    feasible = list(dict.fromkeys(group.arm for group in groups if group.feasible))
    rows = []
    for scenario, members in by_scenario(groups).items():
        references = [(name, found.get((scenario, name, "reference"))) for name in REFERENCES]
        arms = {
            method: [(arm, found.get((scenario, method, arm))) for arm in (PLAIN, *feasible)]
            for method in by_method(members)
        }
        present = {m: panels for m, panels in arms.items() if any(e for _, e in panels)}
        if present:
            rows += [LossRow(scenario, m, (*references, *panels)) for m, panels in present.items()]
        elif any(entry for _, entry in references):
            rows.append(LossRow(scenario, None, tuple(references)))
    return rows


def overlap(entry: Mapping[str, Any]) -> float:
    """How much the two histograms share: 1 where forget and test examples look alike.

    ``sum over bins of min(forget, test)``.

    >>> overlap({"forget": [1.0, 0.0], "test": [0.5, 0.5]})
    0.5
    """
    return float(np.minimum(entry["forget"], entry["test"]).sum())


def _figure(rows: Sequence[LossRow], colours: Mapping[str, str]) -> Figure:
    columns = max(len(row.panels) for row in rows)
    firsts = [i == 0 or rows[i - 1].scenario != row.scenario for i, row in enumerate(rows)]
    height = _TOP + sum(_ROW + _GAP + _HEAD * first for first in firsts) + _BOTTOM
    figure = Figure((_WIDTH, height))
    width = (_WIDTH - _LEFT - _RIGHT + _GAP) / columns
    top = height - _TOP
    for row, first in zip(rows, firsts, strict=True):
        if first:
            top -= _HEAD
            where = (_LEFT / _WIDTH, (top + 0.1) / height)
            figure.text(*where, scenario_title(row.scenario), weight="bold", fontsize=11)
        top -= _ROW + _GAP
        room = round(15 * width)
        for column, (name, entry) in enumerate(row.panels):
            left = (_LEFT + column * width) / _WIDTH
            shape = (left, (top + _GAP) / height, (width - _GAP) / _WIDTH, (_ROW - 0.2) / height)
            if entry:
                axes = figure.add_axes(shape)
                _draw(axes, row, name, entry, colours, room)
                axes.tick_params(labelbottom=row is rows[-1])
    figure.text(0.5, 0.47 / height, "Loss", ha="center")
    figure.legend(handles=_legend(), loc="lower center", ncols=3, bbox_to_anchor=(0.5, 0.0))
    return figure


def _draw(
    axes: Axes,
    row: LossRow,
    name: str,
    entry: Mapping[str, Any],
    colours: Mapping[str, str],
    room: int,
) -> None:
    edges = np.asarray(entry["edges"], np.float64)
    colour = INK if name in REFERENCES else colours[row.method or ""]
    forget, test = (np.asarray(entry[key], np.float64) for key in ("forget", "test"))
    axes.stairs(test, edges, fill=True, color=_TEST)
    axes.stairs(forget, edges, fill=True, color=colour, alpha=0.25)
    axes.stairs(forget, edges, color=colour, lw=1.2)
    target = dict(row.panels).get("retrained")
    if target and name != "retrained":
        axes.stairs(
            np.asarray(target["forget"]), target["edges"], color=INK, lw=0.8, ls=(0, (2, 1.5))
        )
    axes.set_xscale("log")
    decades = np.arange(np.ceil(np.log10(edges[0])), np.log10(edges[-1]) + 0.5, 2)
    # Labels at the ends would run into those of the panels beside.
    decades = [d for d in decades if edges[0] < 10.0**d < edges[-1]]
    axes.set_xticks(
        [10.0**d for d in decades], [f"10{str(int(d)).translate(_SUPERSCRIPT)}" for d in decades]
    )
    axes.set_xticks([], minor=True)
    # Room on top for the number.
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.3 * axes.dataLim.y1), yticks=[])
    axes.spines["left"].set_visible(False)
    arms = [arm for arm, histogram in row.panels if histogram and arm not in REFERENCES]
    who = f"{row.method}, {name}" if [name] == arms[:1] else name
    axes.set_title(shortened(who, room), fontsize=8.5, weight="normal", color=colour, pad=3)
    axes.text(
        *(0.02, 0.97, f"overlap {overlap(entry):.2f}"),
        transform=axes.transAxes,
        fontsize=7.5,
        va="top",
        color="#57606a",
    )


def _legend() -> list[Any]:
    return [
        Patch(facecolor=GREY, alpha=0.45, edgecolor=INK, label="forget examples"),
        Patch(color=_TEST, label="test examples"),
        Line2D([], [], color=INK, lw=0.8, ls=(0, (2, 1.5)), label="forget examples, retrained"),
    ]
