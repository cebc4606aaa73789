"""How methods and arms look, the same in every picture and on the page."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from feasible_jax.report.groups import PLAIN, Group, by_method

# Okabe and Ito's palette, then Tol's muted one: told apart under the common colour blindnesses.
_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#b5599a",
    "#e69f00",
    "#56b4e9",
    "#332288",
    "#882255",
    "#999933",
    "#44aa99",
)
INK = "#24292f"
GREY = "#8c959f"
_FEASIBLE = ("o", "D", "s", "^", "P", "v")
_CONTROLS = ("x", "+", "1", "2", "3", "4")
_SETTINGS = {
    "figure.facecolor": "white",
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eaeef2",
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "text.parse_math": False,
}
DPI = 200


class ArmMark(NamedTuple):
    """The marker of an arm.

    Attributes:
      marker: as matplotlib names it.
      size: in points.
      filled: whether in the method's colour; hollow otherwise.
      alpha: its opacity.

    >>> ArmMark("o", 8.0, True, 1.0).filled
    True
    """

    marker: str
    size: float
    filled: bool
    alpha: float


def method_colours(groups: Sequence[Group]) -> dict[str, str]:
    """A colour for every base method, by its place among them.

    >>> method_colours([Group("random", "NegGrad+", "plain", False, ())])
    {'NegGrad+': '#0072b2'}
    """
    return {m: _COLOURS[i % len(_COLOURS)] for i, m in enumerate(by_method(groups))}


def arm_marks(groups: Sequence[Group]) -> dict[str, ArmMark]:
    """A marker for every arm: plain hollow, controls small, feasible arms filled.

    >>> arm_marks([Group("random", "NegGrad+", "plain", False, ())])["plain"].filled
    False
    """
    arms = [g for g in groups if not g.is_reference]
    feasible = list(dict.fromkeys(g.arm for g in arms if g.feasible))
    controls = list(dict.fromkeys(g.arm for g in arms if g.arm not in (PLAIN, *feasible)))
    marks = {PLAIN: ArmMark("o", 8.0, False, 1.0)}
    for i, arm in enumerate(controls):
        marks[arm] = ArmMark(_CONTROLS[i % len(_CONTROLS)], 5.5, False, 0.6)
    for i, arm in enumerate(feasible):
        marks[arm] = ArmMark(_FEASIBLE[i % len(_FEASIBLE)], 8.0 if i == 0 else 6.5, True, 1.0)
    return marks


def drawing():
    """A context in which pictures look alike, whatever the reader's own settings are.

    >>> with drawing():
    ...     figure = Figure()
    """
    return matplotlib.style.context(["default", _SETTINGS])


def png(figure: Figure) -> bytes:
    """A figure as a PNG file, the same bytes for the same figure.

    >>> with drawing():
    ...     png(Figure(figsize=(1, 1)))[1:4]
    b'PNG'
    """
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
