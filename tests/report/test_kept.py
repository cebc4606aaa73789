import numpy as np
import pytest

from feasible_jax.report.groups import Group, group_rows
from feasible_jax.report.kept import averaged, kept_figure, layer_colours
from feasible_jax.report.style import png


def test_feasible_arms_alone_are_drawn(run):
    figure = kept_figure(run.curves["kept"], group_rows(run.rows))
    assert len(figure.axes) == 8
    assert all(len(axes.lines) == 8 for axes in figure.axes)
    assert all(0 <= y <= 100 for axes in figure.axes for y in axes.lines[0].get_ydata())


@pytest.mark.parametrize("length", [1, 79, 80, 81, 400, 1001])
def test_averages_keep_a_straight_line_straight(length):
    values = averaged(np.arange(length))
    assert len(values) <= 80
    assert values[0] == pytest.approx((-(-length // 80) - 1) / 2)
    full = values[: length // -(-length // 80)]
    assert np.allclose(np.diff(full, 2), 0)


def test_none_is_a_gap():
    assert np.isnan(averaged([None, 1.0])).tolist() == [True, False]


def test_kernel_and_bias_share_the_colour_of_their_module():
    colours = layer_colours(["a/bias", "a/kernel", "b/kernel", "w"])
    assert list(colours) == ["a", "b", "w"]
    assert len(set(colours.values())) == 3


def test_hundreds_of_layers_and_uneven_panels():
    layers = {f"block_{i}/kernel": [0.5, 0.4] for i in range(200)}
    shapes = [("random", "m1", "feasible"), ("class", "m2", "feasible, curvature")]
    names = ("scenario", "method", "arm")
    entries = [dict(zip(names, s, strict=True), steps=[1, 2], layers=layers) for s in shapes]
    figure = kept_figure(entries, [Group(*s, True, ()) for s in shapes])
    assert png(figure)
    assert len(figure.legends[0].get_texts()) == 12
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert titles == ["m1, feasible", "m2, feasible, curvature"]


def test_nothing_to_draw(run):
    groups = group_rows(run.rows)
    plain = [entry for entry in run.curves["kept"] if entry["arm"] == "plain"]
    assert kept_figure([], groups) is None
    assert kept_figure(plain, groups) is None
