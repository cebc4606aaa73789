import pytest

from feasible_jax.report.groups import Group, group_rows
from feasible_jax.report.style import png
from feasible_jax.report.tradeoff import tradeoff_figure


def test_a_panel_a_scenario_and_a_close_up_where_models_are_destroyed(run):
    figure = tradeoff_figure(group_rows(run.rows))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Random examples",
        "Corrupted labels",
        "Corrupted labels, close-up",
    ]
    assert figure.axes[1].get_xlabel() == "Forget accuracy, wrong labels (%)"
    assert png(figure)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_scenarios(one_seed, count):
    rows = [row | {"scenario": f"s{i}"} for row in one_seed.rows for i in range(count)]
    assert len(tradeoff_figure(group_rows(rows)).axes) == count


def test_nothing_to_draw():
    assert tradeoff_figure([]) is None
    assert tradeoff_figure([Group("random", "original", "reference", False, ())]) is None


def test_strange_names_are_drawn_as_they_are(one_seed):
    rows = [row | {"scenario": "$\\frac{$_^"} for row in one_seed.rows]
    figure = tradeoff_figure(group_rows(rows))
    assert png(figure)
    assert figure.axes[0].get_title(loc="left") == "$\\frac{$_^"
