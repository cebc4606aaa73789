import numpy as np
import pytest
from scipy.stats import norm

from feasible_jax.evaluation import u_lira, u_lira_share


def by_hand(unlearned, retrained):
    """Every target judged by scipy's densities, one at a time."""
    right, wins = [], []
    for i in range(len(unlearned)):
        fits = []
        for margins in (unlearned, retrained):
            others = np.delete(margins, i, axis=0)
            fits.append(norm(others.mean(axis=0), others.std(axis=0, ddof=1)))
        ratios = [
            fits[0].logpdf(margins[i]) - fits[1].logpdf(margins[i])
            for margins in (unlearned, retrained)
        ]
        right.append(((ratios[0] > 0) * 1.0 + (ratios[1] < 0)) / 2)
        wins.append(ratios[0] > ratios[1])
    return 100 * np.mean(right, axis=0), np.mean(wins)


def test_agrees_with_one_target_after_the_other():
    rng = np.random.default_rng(0)
    unlearned, retrained = rng.normal(1, 2, (5, 7)), rng.normal(0, 1, (5, 7))
    attack = u_lira(unlearned, retrained)
    per_example, auc = by_hand(unlearned, retrained)
    np.testing.assert_allclose(attack.per_example, per_example)
    assert attack.accuracy == pytest.approx(per_example.mean())
    assert attack.auc == pytest.approx(auc)


def test_the_same_models_are_a_guess():
    margins = np.random.default_rng(0).normal(size=(6, 20))
    attack = u_lira(margins, margins)
    assert (attack.accuracy, attack.auc) == (50.0, 0.5)
    np.testing.assert_array_equal(attack.per_example, np.full(20, 50.0))


@pytest.mark.parametrize("models", [3, 5, 16])
def test_models_of_one_kind_are_a_guess_however_few(models, binomial):
    # Both accuracies of a pair are exchangeable: each example and model is a toss of its own, but
    # for the fits that they share.
    rng = np.random.default_rng(models)
    attack = u_lira(*rng.normal(size=(2, models, 4000)))
    # One of M dependent tosses at most counts for each example.
    binomial(attack.per_example / 100, 0.5)
    assert attack.auc == pytest.approx(0.5, abs=4.5 * 0.5 / np.sqrt(4000))


def test_the_accuracy_of_many_models_is_that_of_the_best_attack():
    rng = np.random.default_rng(0)
    unlearned, retrained = rng.normal(1.5, 1, (200, 300)), rng.normal(0, 1, (200, 300))
    attack = u_lira(unlearned, retrained)
    assert attack.accuracy == pytest.approx(100 * norm.cdf(0.75), abs=1)
    assert attack.auc == pytest.approx(norm.cdf(1.5 / np.sqrt(2)), abs=0.01)


def test_an_attack_of_all_examples_together_would_see_nothing():
    # Unlearning raised every other margin and lowered the rest: the pooled margins look alike.
    rng = np.random.default_rng(0)
    retrained = rng.normal(np.repeat([-4.0, 4.0], 50), 0.3, (8, 100))
    unlearned = rng.normal(np.repeat([4.0, -4.0], 50), 0.3, (8, 100))
    assert abs(unlearned.mean() - retrained.mean()) < 0.1
    assert u_lira(unlearned, retrained).accuracy == 100.0


def test_unlike_spreads_are_seen_too():
    rng = np.random.default_rng(0)
    assert u_lira(rng.normal(0, 0.05, (20, 50)), rng.normal(0, 3, (20, 50))).accuracy > 90


def test_models_that_all_agree():
    zeros, ones = np.zeros((4, 3)), np.ones((4, 3))
    assert u_lira(zeros, zeros).accuracy == 50.0
    assert u_lira(ones, zeros).accuracy == 100.0
    assert u_lira(np.full((4, 3), np.inf), zeros).accuracy == 100.0


def test_an_outlier_does_not_spoil_its_own_fit():
    # With the target in its own fit, the variance would swallow the outlier.
    unlearned = np.array([[0.0], [0.1], [-0.1], [50.0]])
    retrained = np.array([[49.0], [51.0], [50.5], [48.0]])
    assert u_lira(unlearned, retrained).per_example[0] == 87.5


def test_a_single_model_is_judged_by_ensembles_that_it_is_not_in():
    rng = np.random.default_rng(0)
    unlearned, retrained = rng.normal(2, 1, (9, 40)), rng.normal(0, 0.5, (9, 40))
    target = rng.normal(1, 1, 40)
    fits = [norm(m.mean(axis=0), m.std(axis=0, ddof=1)) for m in (unlearned, retrained)]
    expected = np.mean(fits[0].logpdf(target) > fits[1].logpdf(target))
    assert 0.1 < expected < 0.9
    assert u_lira_share(target, unlearned, retrained) == pytest.approx(100 * expected)
    assert u_lira_share(unlearned.mean(axis=0), unlearned, retrained) > 90
    assert u_lira_share(retrained.mean(axis=0), unlearned, retrained) < 10


def test_too_few_models_are_refused():
    with pytest.raises(ValueError, match="give at least 3"):
        u_lira(np.zeros((2, 4)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"\(1, 3\) and retrained \(1, 4\)"):
        u_lira_share(np.zeros(3), np.zeros((2, 4)), np.zeros((2, 4)))
