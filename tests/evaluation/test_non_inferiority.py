import numpy as np
import pytest
from scipy.stats import beta, binom

from feasible_jax.evaluation import Predictions, correct, non_inferiority


def models(harmed, helped, right, wrong):
    """Whether each example is right, before and after."""
    counts = (harmed, helped, right, wrong)
    return np.repeat([True, False, True, False], counts), np.repeat(
        [False, True, True, False], counts
    )


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("harmed", [0, 2, 30])
def test_without_help_the_bound_is_clopper_and_pearsons(harmed, confidence):
    result = non_inferiority(*models(harmed, 0, 100, 50), confidence=confidence)
    expected = beta.ppf(confidence, harmed + 1, 150)
    assert result.bound == pytest.approx(100 * expected, rel=1e-8)
    assert result.fall == pytest.approx(100 * harmed / (harmed + 150))


def test_no_change_is_no_proof_of_none():
    for count in (10, 1000, 10_000):
        result = non_inferiority(*models(0, 0, count, 0))
        assert result.fall == 0.0
        assert result.bound == pytest.approx(100 * (1 - 0.05 ** (1 / count)), rel=1e-8)
        assert result.p_value == pytest.approx(0.995**count, rel=1e-6)
    assert result.non_inferior


def test_the_bound_is_the_smallest_margin_that_is_accepted():
    pair = models(12, 9, 800, 300)
    bound = non_inferiority(*pair).bound
    above, below = (non_inferiority(*pair, margin=bound + d) for d in (1e-6, -1e-6))
    assert above.non_inferior
    assert not below.non_inferior
    assert above.bound == below.bound == bound
    assert above.p_value == pytest.approx(0.05, abs=1e-5)


def test_a_certain_rise_has_a_negative_bound():
    result = non_inferiority(*models(0, 300, 600, 100), margin=0.0)
    assert result.fall == -30.0
    assert -30.0 < result.bound < -25.0
    assert result.non_inferior


def test_everything_lost_and_a_single_example():
    assert non_inferiority(*models(50, 0, 0, 0)).bound == 100.0
    assert non_inferiority(*models(0, 0, 1, 0)).bound == pytest.approx(95.0)
    assert not non_inferiority(*models(0, 0, 1, 0)).non_inferior


def test_only_the_counts_matter_not_the_order():
    before, after = models(12, 9, 800, 300)
    order = np.random.default_rng(0).permutation(len(before))
    assert non_inferiority(before[order], after[order]) == non_inferiority(before, after)
    assert non_inferiority(before.astype(int), after.astype(float)) == non_inferiority(
        before, after
    )


def test_predictions_are_read_by_whether_they_are_right():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    original, unlearned = (
        Predictions(rng.normal(size=(200, 3)).astype(np.float32), labels) for _ in range(2)
    )
    expected = non_inferiority(correct(original), correct(unlearned))
    assert non_inferiority(original, unlearned) == expected


@pytest.mark.parametrize(("harmed", "helped"), [(0.01, 0.0), (0.02, 0.015), (0.12, 0.1)])
def test_the_bound_holds_as_often_as_it_says(harmed, helped):
    draws, count = 300, 500
    rng = np.random.default_rng(1)
    samples = rng.multinomial(count, [harmed, helped, 1 - harmed - helped], draws)
    bounds = [non_inferiority(*models(a, b, c, 0)).bound for a, b, c in samples]
    missed = sum(bound < 100 * (harmed - helped) for bound in bounds)
    # Not above the level but for the simulation's noise; not far below it either.
    assert binom.ppf(1e-3, draws, 0.01) <= missed <= binom.ppf(1 - 1e-3, draws, 0.05)


def test_a_higher_confidence_asks_for_more():
    pair = models(12, 9, 800, 300)
    bounds = [non_inferiority(*pair, confidence=c).bound for c in (0.5, 0.8, 0.95, 0.999)]
    assert bounds == sorted(bounds)
    assert len(set(bounds)) == 4


@pytest.mark.parametrize(
    ("original", "unlearned", "settings", "message"),
    [
        (np.ones(3), np.ones(2), {}, r"unlearned \(2,\)"),
        (np.ones(0), np.ones(0), {}, "at least one"),
        (np.ones(2), np.array([0.3, 1.0]), {}, "unlearned holds values other than 0 and 1"),
        (np.array([np.nan, 1.0]), np.ones(2), {}, "original holds values other than 0 and 1"),
        (np.ones(2), np.ones(2), {"margin": -1.0}, "margin is -1.0"),
        (np.ones(2), np.ones(2), {"margin": 101}, "cannot fall by more than 100"),
        (np.ones(2), np.ones(2), {"confidence": 95}, "confidence is 95"),
    ],
)
def test_bad_input_is_refused(original, unlearned, settings, message):
    with pytest.raises(ValueError, match=message):
        non_inferiority(original, unlearned, **settings)
