"""One panel of the trade-off picture."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

from feasible_jax.evaluation import MeanInterval
from feasible_jax.report.groups import Group, find
from feasible_jax.report.style import GREY, INK, ArmMark
from feasible_jax.report.tradeoff_view import View, point
from feasible_jax.report.verdicts import compare_arms

Point = tuple[MeanInterval, MeanInterval]
REFERENCE_MARKS = {"original": ("X", 9.0), "retrained": ("*", 15.0)}


def draw_panel(
    axes: Axes,
    groups: Sequence[Group],
    colours: Mapping[str, str],
    marks: Mapping[str, ArmMark],
    view: View,
    title: str,
    x_label: str,
    box: View | None = None,
) -> None:
    """Draws the models of one scenario, and a line from each plain arm to its feasible arms.

    Args:
      axes: what to draw on.
      groups: all of one scenario.
      colours: by method.
      marks: by arm.
      view: the limits; models outside are not drawn.
      title: of the panel.
      x_label: of the forget accuracy.
      box: a part to frame, where another panel shows it larger.

    >>> from matplotlib.figure import Figure
    >>> axes = Figure().subplots()
    >>> draw_panel(axes, [], {}, {}, View((0.0, 100.0), (0.0, 100.0)), "Random", "Forget")
    >>> axes.get_xlabel()
    'Forget'
    """
    axes.set_axis_on()
    axes.set(title=title, xlabel=x_label, ylabel="Test accuracy (%)", xlim=view.x, ylim=view.y)
    _guides(axes, groups)
    for comparison in compare_arms(groups):
        ends = point(comparison.plain), point(comparison.feasible)
        if ends[0] and ends[1]:
            _arrow(axes, ends[0], ends[1], colours[comparison.plain.method])
    for group in groups:
        where = point(group)
        if where and _inside(where, view):
            if group.is_reference:
                _reference(axes, group, where)
            else:
                _arm(axes, group, where, colours[group.method], marks[group.arm])
    if box:
        width, height = box.x[1] - box.x[0], box.y[1] - box.y[0]
        corner = (box.x[0], box.y[0])
        axes.add_patch(
            Rectangle(corner, width, height, fill=False, ec=GREY, lw=0.8, ls=(0, (3, 2)))
        )


def _guides(axes: Axes, groups: Sequence[Group]) -> None:
    retrained = find(groups, method="retrained")
    target = point(retrained) if retrained else None
    if target:
        for line, value in ((axes.axvline, target[0].mean), (axes.axhline, target[1].mean)):
            line(value, color=INK, lw=0.8, ls=(0, (1, 2)), zorder=1)


def _reference(axes: Axes, group: Group, where: Point) -> None:
    marker, size = REFERENCE_MARKS[group.method]
    axes.plot(
        *(where[0].mean, where[1].mean),
        color=INK,
        marker=marker,
        markersize=size,
        markeredgecolor="white",
        markeredgewidth=0.8,
        ls="",
        zorder=6,
    )


def _arm(axes: Axes, group: Group, where: Point, colour: str, mark: ArmMark) -> None:
    x, y = where
    control = mark.alpha < 1
    if not control and x.half_width is not None and y.half_width is not None:
        widths = {"xerr": x.half_width, "yerr": y.half_width}
        axes.errorbar(
            x.mean,
            y.mean,
            **widths,
            fmt="none",
            ecolor=colour,
            elinewidth=0.9,
            alpha=0.45,
            zorder=2,
        )
    axes.plot(
        *(x.mean, y.mean),
        color=colour,
        marker=mark.marker,
        markersize=mark.size,
        markerfacecolor=colour if mark.filled else "white",
        markeredgecolor="white" if mark.filled else colour,
        markeredgewidth=0.8 if mark.filled else 1.6,
        alpha=mark.alpha,
        ls="",
        zorder=5 if mark.filled else 4,
    )


def _arrow(axes: Axes, start: Point, end: Point, colour: str) -> None:
    # Not annotate(): its arrows run on outside the panel.
    arrow = FancyArrowPatch(
        (start[0].mean, start[1].mean),
        (end[0].mean, end[1].mean),
        arrowstyle="-|>",
        mutation_scale=10,
        shrinkA=5,
        shrinkB=5,
        color=colour,
        lw=1.1,
        alpha=0.6,
        zorder=3,
    )
    axes.add_patch(arrow)


def _inside(where: Point, view: View) -> bool:
    x, y = where[0].mean, where[1].mean
    return view.x[0] <= x <= view.x[1] and view.y[0] <= y <= view.y[1]
