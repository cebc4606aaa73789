import numpy as np
import pytest

from feasible_jax.evaluation import loss_histogram


def test_shares_sum_to_one_whatever_the_sizes():
    rng = np.random.default_rng(0)
    result = loss_histogram(rng.exponential(size=30), rng.exponential(size=700))
    assert result.edges.shape == (41,)
    assert result.forget.sum() == pytest.approx(1)
    assert result.test.sum() == pytest.approx(1)


def test_bins_are_even_on_a_logarithmic_axis():
    edges = loss_histogram(np.ones(1), np.ones(1)).edges
    np.testing.assert_allclose(np.diff(np.log10(edges)), 0.2)
    assert edges[[0, -1]] == pytest.approx([1e-6, 100])


def test_each_loss_falls_into_its_own_bin():
    result = loss_histogram(np.array([0.02, 0.5, 0.6]), np.array([5.0]), bins=3, low=0.01, high=10)
    np.testing.assert_allclose(result.forget, [1 / 3, 2 / 3, 0])
    np.testing.assert_allclose(result.test, [0, 0, 1])


def test_extreme_losses_are_counted_not_dropped():
    result = loss_histogram(np.array([0.0, 1e-30, -0.0]), np.array([1e9, np.inf]))
    assert result.forget[0] == result.test[-1] == 1.0


def test_equal_sets_have_equal_histograms():
    losses = np.random.default_rng(0).exponential(size=50)
    result = loss_histogram(losses, losses[::-1])
    np.testing.assert_array_equal(result.forget, result.test)


@pytest.mark.parametrize(
    ("forget", "test", "name"),
    [([np.nan], [1.0], "forget"), ([1.0], [], "test")],
)
def test_bad_losses_are_named(forget, test, name):
    with pytest.raises(ValueError, match=f"{name}_losses of shape"):
        loss_histogram(np.array(forget), np.array(test))


@pytest.mark.parametrize("options", [{"low": 0.0}, {"low": 200.0}, {"high": np.inf}, {"bins": 0}])
def test_bad_bins_are_refused(options):
    with pytest.raises(ValueError, match="need 0 < low < high"):
        loss_histogram(np.ones(1), np.ones(1), **options)
