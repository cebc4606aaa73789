"""The trade-off picture: how much was forgotten, and what it cost."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from feasible_jax.report.groups import Group, by_scenario
from feasible_jax.report.style import arm_marks, drawing, method_colours
from feasible_jax.report.tradeoff_legend import legend_columns
from feasible_jax.report.tradeoff_panel import draw_panel
from feasible_jax.report.tradeoff_view import View, close_up, whole_view
from feasible_jax.report.wording import has_wrong_labels, scenario_title

_WIDTH, _PANEL_HEIGHT, _LEGEND_ROW = 8.0, 3.1, 0.24


def tradeoff_figure(groups: Sequence[Group]) -> Figure | None:
    """Forget accuracy against test accuracy, in percent, a panel a scenario.

    Where some models are destroyed, a second panel is a close-up of those near the retrained one,
    for on an axis that shows both the differences between good models vanish.

    Args:
      groups: as ``group_rows`` returns them.

    Returns:
      A figure; None where no group has both accuracies.

    >>> rows = ({"seed": 0, "forget_accuracy": 90.5, "test_accuracy": 86.6},)
    >>> figure = tradeoff_figure([Group("random", "retrained", "reference", False, rows)])
    >>> figure.axes[0].get_xlabel()
    'Forget accuracy (%)'
    """
    views = {s: view for s, g in by_scenario(groups).items() if (view := whole_view(g))}
    if not views:
        return None
    with drawing():
        return _figure(groups, views)


def _figure(groups: Sequence[Group], views: dict[str, View]) -> Figure:
    scenarios = by_scenario(groups)
    close_ups = {scenario: close_up(scenarios[scenario]) for scenario in views}
    # A scenario and its close-up share a row; without any close-up, two scenarios do.
    per_row = 1 if any(close_ups.values()) or len(views) == 1 else 2
    rows = math.ceil(len(views) / per_row)
    legend = legend_columns(groups)
    height = rows * _PANEL_HEIGHT + len(legend[0]) * _LEGEND_ROW
    figure = Figure((_WIDTH, height), layout="constrained")
    grid = figure.add_gridspec(rows, 2)
    colours, marks = method_colours(groups), arm_marks(groups)
    for i, (scenario, view) in enumerate(views.items()):
        members = scenarios[scenario]
        title, box = scenario_title(scenario), close_ups[scenario]
        forget = "Forget accuracy, wrong labels (%)"
        label = forget if has_wrong_labels(members) else "Forget accuracy (%)"
        column = i % 2 if per_row == 2 else 0 if box else slice(None)
        axes = figure.add_subplot(grid[i // per_row, column])
        draw_panel(axes, members, colours, marks, view, title, label, box)
        if box:
            axes, title = figure.add_subplot(grid[i, 1]), f"{title}, close-up"
            draw_panel(axes, members, colours, marks, box, title, label)
    handles = [handle for column in legend for handle in column]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(legend))
    return figure
