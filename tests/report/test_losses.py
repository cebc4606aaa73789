import numpy as np
import pytest

from feasible_jax.evaluation import loss_histogram
from feasible_jax.report.groups import group_rows
from feasible_jax.report.losses import loss_rows, losses_figure, overlap
from feasible_jax.report.style import png


def test_a_row_a_method_and_a_column_a_model(run):
    rows = loss_rows(run.curves["histograms"], group_rows(run.rows))
    assert len(rows) == 8
    names = [[name for name, _ in row.panels] for row in rows]
    assert names == [["original", "retrained", "plain", "feasible"]] * 8
    assert rows[0].panels[2][1]["method"] == "gradient ascent"


def test_the_figure_has_every_panel(run):
    figure = losses_figure(run.curves["histograms"], group_rows(run.rows))
    assert len(figure.axes) == 32
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}


def test_missing_histograms_leave_a_gap(run):
    entries = [
        entry
        for entry in run.curves["histograms"]
        if entry["method"] == "NegGrad+" and entry["arm"] == "feasible"
    ]
    figure = losses_figure(entries, group_rows(run.rows))
    assert len(figure.axes) == 2
    assert figure.axes[0].get_title(loc="left") == "NegGrad+, feasible"
    assert png(figure)


def test_references_alone(run):
    rows = [row for row in run.rows if row["arm"] == "reference"]
    figure = losses_figure(run.curves["histograms"], group_rows(rows))
    assert len(figure.axes) == 4


def test_nothing_to_draw(run):
    assert losses_figure([], group_rows(run.rows)) is None


@pytest.mark.parametrize(("losses", "expected"), [([1.0, 2.0], 1.0), ([1e-5, 50.0], 0.0)])
def test_overlap(losses, expected):
    histogram = loss_histogram(np.array(losses), np.array([1.0, 2.0]))
    assert overlap(histogram._asdict()) == expected
