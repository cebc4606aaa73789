import pytest

from feasible_jax.evaluation import MeanInterval
from feasible_jax.report.groups import Group, group_rows
from feasible_jax.report.verdicts import compare_arms, verdict_of


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        (MeanInterval(-2.0, 1.0, 3), "better"),
        (MeanInterval(2.0, 1.0, 3), "worse"),
        (MeanInterval(-1.0, 1.0, 3), "no clear difference"),
        (MeanInterval(0.0, 0.0, 3), "no clear difference"),
        (MeanInterval(-9.0, None, 1), "one seed"),
        (None, "unknown"),
    ],
)
def test_verdicts(interval, verdict):
    assert verdict_of(interval) == verdict


def test_feasible_arms_are_held_against_the_plain_arm_of_their_own_method(run):
    comparisons = compare_arms(group_rows(run.rows))
    assert len(comparisons) == 8
    for comparison in comparisons:
        assert comparison.plain[:2] == comparison.feasible[:2]
        assert (comparison.plain.arm, comparison.feasible.arm) == ("plain", "feasible")


def test_without_a_plain_arm_there_is_no_comparison():
    assert compare_arms([Group("random", "NegGrad+", "feasible", True, ())]) == []
