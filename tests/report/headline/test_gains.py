import pytest
from scipy.stats import binomtest

from feasible_jax.report.headline.gains import (
    Gain,
    Verdicts,
    arms_of,
    gains,
    over_configurations,
    signs,
    verdicts,
)


def gain(*differences):
    return Gain("digits", "mlp", "random", "FT", "feasible", dict(enumerate(differences)))


def test_differences_are_paired_by_seed_and_configuration(rows):
    found = gains(rows, "unlearning_accuracy")
    assert len(found) == 2 * 2 * 2
    means = {(g.scenario, g.method, g.arm): g.mean for g in found}
    assert means["random", "NegGrad+", "feasible"] == 4.0
    assert means["class", "SalUn", "feasible"] == 8.0
    assert means["class", "SalUn", "random mask"] == -2.0


def test_a_seed_that_one_of_the_two_lacks_is_left_out(rows):
    rows = [r for r in rows if not (r["arm"] == "plain" and r["seed"] == 3)]
    rows[-1]["unlearning_accuracy"] = None
    found = gains(rows, "unlearning_accuracy")
    assert set(found[0].by_seed) == {0, 1, 2, 4}
    assert set(found[-1].by_seed) == {0, 1, 2}


def test_the_mean_over_configurations_weighs_each_alike():
    interval = over_configurations([gain(1.0, 3.0), gain(8.0)])
    assert interval.mean == 5.0
    assert interval.count == 2
    assert over_configurations([]) is None


def test_the_sign_test_is_scipys_and_ties_have_no_say():
    found = signs([gain(1.0, 2.0, 0.0), gain(-1.0, 3.0, 1e-12)])
    assert found[:3] == (3, 1, 2)
    assert found.p_value == binomtest(3, 4).pvalue
    assert signs([gain(0.0)]).p_value == 1.0


@pytest.mark.parametrize(
    ("some", "expected"),
    [
        ([gain(1, 1, 1, 1, 1)], Verdicts(1, 0, 0)),
        ([gain(1, 1, 1, 1, -1)], Verdicts(0, 1, 0)),  # 6 of 32 sequences are as good
        ([gain(-1, -2, -1, -1, -3)], Verdicts(0, 0, 1)),
        ([gain(1, 1, 1, 1)], Verdicts(0, 1, 0)),  # 1 in 16 is no evidence at 5%
        ([gain(0, 0, 0, 0, 0)], Verdicts(0, 1, 0)),
    ],
)
def test_verdicts(some, expected):
    assert verdicts(some) == expected


def test_arms_keep_their_order(rows):
    assert list(arms_of(gains(rows, "unlearning_accuracy"))) == ["feasible", "random mask"]
