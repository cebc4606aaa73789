import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from feasible_jax.report.groups import group_rows
from feasible_jax.report.style import arm_marks, method_colours
from feasible_jax.report.tradeoff_panel import draw_panel
from feasible_jax.report.tradeoff_view import View, whole_view


@pytest.fixture
def groups(run):
    return group_rows([row for row in run.rows if row["scenario"] == "corrupted_labels"])


def panel(groups, view, box=None):
    axes = Figure().subplots()
    draw_panel(axes, groups, method_colours(groups), arm_marks(groups), view, "t", "x", box)
    return axes


def test_an_arrow_for_every_feasible_arm(groups):
    box = View((0, 10), (80, 90))
    patches = panel(groups, whole_view(groups), box).patches
    assert sum(isinstance(patch, FancyArrowPatch) for patch in patches) == 4
    assert sum(isinstance(patch, Rectangle) for patch in patches) == 1


def test_one_marker_a_model_and_two_guide_lines(groups):
    axes = panel(groups, whole_view(groups))
    markers = [line for line in axes.lines if line.get_marker() not in ("None", None)]
    # A line of an error bar is a collection; the guide lines have no marker.
    assert len([line for line in markers if len(line.get_xdata()) == 1]) == len(groups) == 18
    assert len([line for line in axes.lines if line.get_marker() == "None"]) >= 2


def test_models_outside_are_not_drawn(groups):
    assert len(panel(groups, View((200, 300), (200, 300))).lines) == 2


def test_arrows_do_not_leave_the_panel(groups):
    axes = panel(groups, View((0, 10), (80, 90)))
    assert all(patch.get_clip_on() and patch.get_clip_box() for patch in axes.patches)


def test_a_method_without_a_plain_arm(groups):
    axes = panel([g for g in groups if g.arm != "plain"], whole_view(groups))
    assert not axes.patches
