import matplotlib
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from feasible_jax.report.groups import Group, group_rows
from feasible_jax.report.style import arm_marks, drawing, method_colours, png


def test_colours_do_not_depend_on_the_scenario(run):
    groups = group_rows(run.rows)
    assert method_colours(groups) == method_colours(
        [g for g in groups if g.scenario == "corrupted_labels"]
    )


def test_ten_methods_differ_and_more_are_still_drawn():
    groups = [Group("random", f"m{i}", "plain", False, ()) for i in range(13)]
    colours = [to_rgb(colour) for colour in method_colours(groups).values()]
    assert len(colours) == 13
    assert len(set(colours)) == 10


def test_plain_is_hollow_feasible_filled_controls_faint(run):
    marks = arm_marks(group_rows(run.rows))
    assert not marks["plain"].filled
    assert marks["feasible"].filled
    assert marks["random mask"].alpha < 1
    assert len({mark[:3] for mark in marks.values()}) == len(marks) == 4


def test_the_readers_settings_are_left_alone():
    with matplotlib.rc_context({"font.size": 33.0}):
        with drawing():
            assert matplotlib.rcParams["font.size"] == 10.0
        assert matplotlib.rcParams["font.size"] == 33.0


@pytest.mark.parametrize("text", ["$x^2$ and $", "<b>", "a_b"])
def test_the_same_figure_gives_the_same_bytes(text):
    def draw():
        with drawing():
            figure = Figure(figsize=(2, 1))
            figure.text(0.1, 0.5, text)
            return png(figure)

    assert draw() == draw()
