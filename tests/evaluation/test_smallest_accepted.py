import math

import pytest
from scipy.stats import norm

from feasible_jax.evaluation.smallest_accepted import bracket, smallest_accepted


@pytest.mark.parametrize("level", [0.01, 0.05, 0.5, 0.9])
@pytest.mark.parametrize("centre", [-3.0, 0.0, 1e4])
def test_inverts_the_normal_test(level, centre):
    def p_value(margin):
        return float(norm.cdf(centre - margin))

    low, high = bracket(p_value, level, centre, 0.01)
    assert p_value(low) > level >= p_value(high)
    bound = smallest_accepted(p_value, level, low, high)
    assert bound == pytest.approx(centre + norm.isf(level), abs=1e-9)
    assert p_value(bound) <= level


def test_a_test_that_never_or_always_accepts():
    assert bracket(lambda margin: 1.0, 0.05, 0.0, 1.0) == (-1.0, math.inf)
    assert bracket(lambda margin: 0.0, 0.05, 0.0, 1.0) == (-math.inf, 1.0)
    assert smallest_accepted(lambda margin: 1.0, 0.05, -1.0, 1.0) == 1.0


def test_single_precision_does_not_round_the_changes_away():
    margins = []

    def p_value(margin):
        margins.append(margin)
        return 1.0

    bracket(p_value, 0.05, 0.0, 1.0)
    assert max(map(abs, margins)) <= 2**12
