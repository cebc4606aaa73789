import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import beta, binom, dirichlet, multinomial

from feasible_jax.evaluation.paired_falls import fall_p_value


@pytest.mark.parametrize("harmed", [0, 1, 7, 50])
@pytest.mark.parametrize("margin", [0.001, 0.02, 0.3])
def test_none_helped_is_clopper_and_pearson(harmed, margin):
    count = 60
    assert fall_p_value(harmed, 0, count, margin) == pytest.approx(
        binom.cdf(harmed, count, margin), abs=1e-12
    )


def test_by_hand():
    # One helped of one: (H, G) ~ Dirichlet(1, 1), so H - G is uniform on [-1, 1].
    assert fall_p_value(0, 1, 1, 0.5) == pytest.approx(0.25, abs=1e-12)
    # One helped of two: H, U, G uniform on the triangle; H - G >= 1/2 is a quarter of its half.
    assert fall_p_value(0, 1, 2, 0.5) == pytest.approx(1 / 8, abs=1e-12)
    assert fall_p_value(3, 0, 3, 1.0) == 1.0
    assert fall_p_value(2, 0, 3, 1.0) == 0.0
    assert fall_p_value(0, 3, 3, -1.0) == 1.0


@pytest.mark.parametrize(
    ("harmed", "helped", "count", "margin"),
    [
        (3, 1, 100, 0.05),
        (1, 3, 100, 0.01),
        (12, 40, 100, -0.2),
        (40, 12, 100, 0.35),
        (60, 40, 100, 0.3),
        (5, 95, 100, -0.8),
        (400, 380, 3000, 0.02),
        (0, 900, 1000, -0.87),
    ],
)
def test_agrees_with_draws_from_the_dirichlet_distribution(harmed, helped, count, margin):
    draws = 40_000
    rest = count - harmed - helped
    shares = dirichlet([harmed + 1, helped, max(rest, 1e-9)]).rvs(draws, random_state=0)
    hits = int(np.sum(shares[:, 0] - shares[:, 1] >= margin))
    p = fall_p_value(harmed, helped, count, margin)
    assert binom.ppf(1e-4, draws, p) <= hits <= binom.ppf(1 - 1e-4, draws, p)


@pytest.mark.parametrize(("harmed", "helped"), [(2, 9000), (9000, 2), (30, 30), (5000, 5000)])
def test_the_integral_agrees_with_a_much_finer_one(harmed, helped):
    count = 10_000
    rest = count - harmed - helped
    if rest == 0:
        margin = 0.004
        exact = beta.sf((1 + margin) / 2, harmed + 1, helped)
    else:
        margin = (harmed - helped) / count + 0.003
        middle = beta(helped, count + 1 - helped)
        edges = np.linspace(*middle.ppf([1e-14, 1 - 1e-14]), 20_001)
        share = (edges[1:] + edges[:-1]) / 2
        tail = beta.sf(np.clip((margin + share) / (1 - share), 0, 1), harmed + 1, rest)
        exact = float(np.sum(np.diff(middle.cdf(edges)) * tail))
    assert fall_p_value(harmed, helped, count, margin) == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize(
    ("harmed", "helped", "count"), [(0, 0, 9), (3, 4, 9), (2, 7, 9), (8, 1, 9)]
)
def test_falls_with_the_margin_and_with_help_and_rises_with_harm(harmed, helped, count):
    margins = np.linspace(-1, 1, 41)
    values = [fall_p_value(harmed, helped, count, float(m)) for m in margins]
    assert all(a >= b - 1e-12 for a, b in pairwise(values))
    assert values[0] == 1.0
    if harmed + helped < count:
        for margin in (-0.3, 0.0, 0.3):
            middle = fall_p_value(harmed, helped, count, margin)
            assert fall_p_value(harmed + 1, helped, count, margin) >= middle
            assert fall_p_value(harmed, helped + 1, count, margin) <= middle


@pytest.mark.parametrize("count", [1, 2, 4, 9, 16])
@pytest.mark.parametrize("margin", [-0.4, 0.0, 0.02, 0.1, 0.4])
def test_is_valid_at_every_level_whatever_the_share_of_helped(count, margin):
    """``P(p <= level) <= level`` at the boundary, summed over every outcome."""
    outcomes = [
        (harmed, helped) for harmed in range(count + 1) for helped in range(count + 1 - harmed)
    ]
    p = np.array([fall_p_value(*outcome, count, margin) for outcome in outcomes])
    full = np.array([(a, b, count - a - b) for a, b in outcomes])
    order = np.argsort(p)
    for helped in np.linspace(max(0, -margin), (1 - margin) / 2, 25):
        shares = [helped + margin, helped, max(1 - margin - 2 * helped, 0)]
        chances = multinomial(count, shares).pmf(full)
        reached = np.cumsum(chances[order])
        last = np.append(np.diff(p[order]) > 1e-12, True)
        assert np.all(reached[last] <= p[order][last] + 1e-9)


@pytest.mark.parametrize(("count", "least"), [(500, 0.038), (2000, 0.043)])
def test_the_size_at_half_a_point_is_just_below_its_level(count, least):
    margin, level = 0.005, 0.05
    most = count // 4
    boundary = np.empty(most, int)
    harmed = -1
    for helped in range(most):
        while fall_p_value(harmed + 1, helped, count, margin) <= level:
            harmed += 1
        boundary[helped] = harmed
    helped = np.arange(most)
    sizes = []
    for share in (0.0, 0.0002, 0.001, 0.005, 0.02, 0.05, 0.1, 0.15):
        given = binom.cdf(boundary, count - helped, (share + margin) / (1 - share))
        sizes.append(float(np.sum(binom.pmf(helped, count, share) * given)))
    assert least < max(sizes) <= level


def test_nothing_changed_leaves_three_over_n_possible():
    for count in (10, 1000, 100_000):
        margin = -math.expm1(math.log(0.05) / count)
        assert fall_p_value(0, 0, count, margin) == pytest.approx(0.05, rel=1e-9)
