import numpy as np
import pytest
import scipy.stats

from feasible_jax.evaluation import klom


def test_agrees_with_scipy_example_by_example():
    rng = np.random.default_rng(0)
    unlearned, retrained = rng.normal(1, 2, (30, 6)), rng.normal(0, 1, (30, 6))
    for value, u, r in zip(klom(unlearned, retrained), unlearned.T, retrained.T, strict=True):
        edges = np.linspace(min(u.min(), r.min()), max(u.max(), r.max()), 21)
        p, q = (np.histogram(margins, edges)[0] / 30 for margins in (u, r))
        assert value == pytest.approx(scipy.stats.entropy(p, np.maximum(q, 1e-5)))


def test_the_same_models_are_no_distance_apart():
    margins = np.random.default_rng(0).normal(size=(10, 5))
    np.testing.assert_allclose(klom(margins, margins), 0, atol=1e-3)
    np.testing.assert_allclose(klom(margins, margins[::-1]), 0, atol=1e-3)
    np.testing.assert_allclose(klom(np.ones((3, 2)), np.ones((3, 2))), 0, atol=1e-3)


def test_models_that_share_no_bin_are_as_far_as_can_be():
    far = klom(np.full((4, 1), np.inf), np.zeros((4, 1)))
    assert far[0] == pytest.approx(np.log(1e5), abs=1e-3)


def test_a_small_case_by_hand():
    # Two bins: three of four below 1 against one of four.
    value = klom([[0.0], [0.1], [0.2], [2.0]], [[0.0], [1.1], [1.2], [2.0]], bins=2)
    expected = 0.75 * np.log(0.75 / 0.25) + 0.25 * np.log(0.25 / 0.75)
    assert value[0] == pytest.approx(expected)


def test_the_direction_is_from_the_retrained_models():
    wide, narrow = np.linspace(-5, 5, 20)[:, None], np.zeros((20, 1))
    assert klom(wide, narrow)[0] > klom(narrow, wide)[0] + 3


def test_bins_are_needed():
    with pytest.raises(ValueError, match="bins is 0"):
        klom(np.zeros((2, 1)), np.zeros((2, 1)), bins=0)
