import pytest

from feasible_jax.report.groups import Group
from feasible_jax.report.wording import (
    at_most,
    below_original,
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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.31, "0.4"),
        (0.3, "0.3"),
        (0.1 + 0.2, "0.3"),
        (0.0, "0.0"),
        (-0.04, "0.0"),
        (-1.29, "-1.2"),
    ],
)
def test_an_upper_bound_is_rounded_up(value, text):
    assert at_most(value) == text


def test_how_far_test_accuracy_fell():
    assert below_original([1.21]) == "at most 1.3 points below the original, 95% confidence"
    assert below_original([-2.0, 0.4], 0.9) == (
        "at most 0.4 points below the original in every seed, 90% confidence each"
    )
    assert below_original([-2.0, -1.05]) == (
        "at least 1.0 points above the original in every seed, 95% confidence each"
    )
    assert below_original([-0.05]) == "at most 0.0 points below the original, 95% confidence"
