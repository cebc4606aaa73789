import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, t, ttest_rel

from feasible_jax.alignment import MeanTest, student_test
from feasible_jax.evaluation import Predictions, cross_entropy, loss_non_inferiority


def losses(rng, count=300, rise=0.02):
    original = rng.exponential(size=count)
    return original, original + rng.normal(rise, 0.2, count)


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_students_bound_is_scipys(scale, confidence):
    original, unlearned = (scale * x for x in losses(np.random.default_rng(0)))
    margin = 0.05 * scale
    result = loss_non_inferiority(
        original, unlearned, margin=margin, confidence=confidence, test="student"
    )
    reference = ttest_rel(unlearned, original + margin, alternative="less")
    changes = unlearned - original
    error = changes.std(ddof=1) / math.sqrt(len(changes))
    assert result.fall == pytest.approx(changes.mean())
    assert result.bound == pytest.approx(
        changes.mean() + error * t.ppf(confidence, len(changes) - 1), rel=1e-4
    )
    assert result.p_value == pytest.approx(reference.pvalue, rel=1e-3)


@pytest.mark.parametrize("test", ["gaffke", "hall", "bootstrap", "student", "normal"])
def test_the_bound_is_the_smallest_margin_that_is_accepted(test):
    pair = losses(np.random.default_rng(1))
    bound = loss_non_inferiority(*pair, test=test).bound
    assert loss_non_inferiority(*pair, margin=bound + 1e-4, test=test).non_inferior
    assert not loss_non_inferiority(*pair, margin=bound - 1e-4, test=test).non_inferior


def test_a_lower_loss_has_a_negative_bound():
    result = loss_non_inferiority(*losses(np.random.default_rng(0), rise=-0.5))
    assert -0.6 < result.fall < result.bound < -0.4
    assert result.non_inferior


def test_predictions_are_read_by_their_cross_entropy():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 50)
    pair = [Predictions(rng.normal(size=(50, 3)).astype(np.float32), labels) for _ in range(2)]
    assert loss_non_inferiority(*pair) == loss_non_inferiority(*map(cross_entropy, pair))


@pytest.mark.parametrize(
    ("original", "unlearned"),
    [
        ([0.0, 1.0, 1.0], [0.0, np.inf, 1.0]),
        ([0.0, np.inf, 1.0], [0.0, np.inf, 1.0]),
        ([0.0, 1.0, 1.0], [0.0, np.nan, 1.0]),
    ],
)
def test_a_loss_that_is_not_finite_leaves_nothing_certain(original, unlearned):
    result = loss_non_inferiority(original, unlearned)
    assert result == (math.inf, math.inf, 1.0, False)


def test_few_examples_leave_nothing_certain():
    for count in (1, 3):
        result = loss_non_inferiority(np.ones(count), np.linspace(0, 1, count))
        assert result.bound == math.inf
        assert not result.non_inferior


def test_equal_changes_are_taken_for_all_there_is():
    result = loss_non_inferiority(np.zeros(20), np.full(20, 0.25))
    assert result.bound == pytest.approx(0.25)
    assert not result.non_inferior


def test_the_bound_holds_as_often_as_it_says():
    draws, count, rise = 400, 500, 0.1
    rng = np.random.default_rng(2)
    mean = math.exp(0.5)
    missed = 0
    for _ in range(draws):
        changes = rise + 0.1 * (rng.lognormal(size=count) - mean)
        missed += not loss_non_inferiority(np.zeros(count), changes, margin=rise).p_value > 0.05
    # Gaffke's test has two points of slack for the skewness, on top of the simulation's noise.
    assert missed <= binom.ppf(1 - 1e-3, draws, 0.07)


def test_a_name_is_compiled_once_and_a_test_of_ones_own_is_used():
    traces = []

    def p_value(changes, weights, population_size):
        traces.append(changes.shape)
        return student_test().p_value(changes, weights, population_size)

    mine = MeanTest("mine", p_value)
    pair = losses(np.random.default_rng(0))
    assert loss_non_inferiority(*pair, test=mine) == loss_non_inferiority(*pair, test="student")
    loss_non_inferiority(*pair, test=mine)
    assert traces == [(300,)]


def test_double_precision_changes_little():
    pair = losses(np.random.default_rng(0))
    single = loss_non_inferiority(*pair)
    with jax.enable_x64(True):
        assert jnp.ones(1).dtype == jnp.float64
        double = loss_non_inferiority(*pair)
    assert single == pytest.approx(double, rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin": -0.1}, "margin is -0.1"),
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"test": "sign"}, "test='sign'"),
        ({"test": 3}, "test=3"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        loss_non_inferiority(np.ones(9), np.ones(9), **settings)


def test_other_examples_are_refused():
    with pytest.raises(ValueError, match=r"unlearned \(2,\)"):
        loss_non_inferiority(np.ones(3), np.ones(2))
