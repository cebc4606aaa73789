import pytest

from feasible_jax.report.groups import Group, group_rows
from feasible_jax.report.tradeoff_legend import legend_columns


def labels(groups):
    return [[h.get_label() for h in column] for column in legend_columns(groups)]


def test_references_methods_and_arms_stand_apart(run):
    columns = labels(group_rows(run.rows))
    assert [column[0] for column in columns] == ["original model", "gradient ascent", "plain"]
    assert len({len(column) for column in columns}) == 1


@pytest.mark.parametrize("count", [1, 5, 20])
def test_many_methods_take_four_columns_at_most(count):
    groups = [Group("random", f"_method {i}", "plain", False, ()) for i in range(count)]
    columns = labels(groups)
    assert len(columns) <= 4
    shown = [label for column in columns for label in column if label.strip()]
    assert len(shown) == count + 1
    assert not any(label.startswith("_") for label in shown)


def test_arms_that_did_not_run_have_no_entry():
    groups = [Group("random", "NegGrad+", "feasible", True, ())]
    assert labels(groups) == [["NegGrad+"], ["feasible"]]
