import pytest

from feasible_jax.report.groups import Group
from feasible_jax.report.wording import (
    counted,
    fixed,
    has_wrong_labels,
    joined,
    scenario_title,
    shortened,
)


def test_unknown_scenarios_keep_their_name():
    assert scenario_title("<script>") == "<script>"


@pytest.mark.parametrize(("value", "text"), [(-0.04, "0.0"), (0.05, "0.1"), (-1.26, "-1.3")])
def test_no_negative_zero(value, text):
    assert fixed(value) == text


@pytest.mark.parametrize(
    ("names", "text"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_joined(names, text):
    assert joined(names) == text


def test_counted():
    assert [counted(n, "seed") for n in (0, 1, 2)] == ["0 seeds", "one seed", "2 seeds"]


def test_shortened_is_never_longer():
    assert [len(shortened("abcdef", n)) for n in (3, 6, 9)] == [3, 6, 6]


def test_any_scenario_with_true_labels_has_wrong_ones():
    rows = ({"forget_true_accuracy": 80.0},)
    assert has_wrong_labels([Group("poison", "original", "reference", False, rows)])
    assert not has_wrong_labels([Group("poison", "original", "reference", False, ({},))])
