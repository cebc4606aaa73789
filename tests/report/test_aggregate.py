import math

import pytest

from feasible_jax.report.aggregate import finite_values, mean_over_seeds, paired_difference
from feasible_jax.report.groups import Group


def group(values, arm="plain"):
    rows = tuple({"seed": seed, "avg_gap": value} for seed, value in values.items())
    return Group("random", "NegGrad+", arm, False, rows)


def test_mean_and_half_width_by_hand():
    interval = mean_over_seeds(group({0: 1.0, 1: 2.0, 2: 3.0}), "avg_gap")
    # Student's 97.5% quantile with 2 degrees of freedom is 4.3027; s = 1.
    assert interval == pytest.approx((2.0, 4.3027 / math.sqrt(3), 3), rel=1e-4)


def test_missing_values_are_left_out_and_counted():
    values = group({0: 1.0, 1: None, 2: float("nan"), 3: 3.0, 4: float("inf")})
    assert mean_over_seeds(values, "avg_gap")[::2] == (2.0, 2)
    assert mean_over_seeds(values, "no such metric") is None
    assert mean_over_seeds(None, "avg_gap") is None


def test_pairs_share_their_seed_not_their_place():
    ours, theirs = group({1: 10.0, 2: 21.0, 3: 5.0}), group({0: 99.0, 1: 9.0, 2: 19.0, 3: None})
    difference = paired_difference(ours, theirs, "avg_gap")
    # Differences 1 and 2: s = 0.7071, quantile with 1 degree of freedom 12.7062.
    assert difference == pytest.approx((1.5, 12.7062 * 0.5, 2), rel=1e-4)


def test_no_shared_seed_no_difference():
    assert paired_difference(group({0: 1.0}), group({1: 1.0}), "avg_gap") is None


def test_finite_values_are_floats_by_seed():
    assert finite_values(group({3: 1, 4: None}), "avg_gap") == {3: 1.0}
