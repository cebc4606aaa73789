import numpy as np
import pytest
from sklearn.svm import SVC

from feasible_jax.evaluation import mia_svc

LOW, HIGH = np.linspace(0.05, 0.3, 60), np.linspace(0.7, 0.95, 90)


def test_the_share_predicted_non_member():
    assert mia_svc(LOW, HIGH, LOW) == 100.0
    assert mia_svc(HIGH, HIGH, LOW) == 0.0
    assert mia_svc(np.concatenate([LOW, HIGH]), HIGH, LOW) == 40.0


def test_confidence_may_point_either_way():
    assert mia_svc(LOW, LOW, HIGH) == 0.0


def test_agrees_with_the_classifier_of_salun_where_nothing_is_drawn():
    rng = np.random.default_rng(0)
    forget, retain, test = rng.beta(4, 2, 40), rng.beta(8, 2, 70), rng.beta(3, 2, 70)
    attack = SVC(C=3, gamma="auto", kernel="rbf")
    attack.fit(np.r_[retain, test][:, None], np.r_[np.ones(70), np.zeros(70)])
    assert mia_svc(forget, retain, test) == 100 * np.mean(1 - attack.predict(forget[:, None]))


def test_classes_are_balanced_when_retain_is_far_larger():
    # Unbalanced, calling everything a member would be the best classifier.
    rng = np.random.default_rng(0)
    retain, test = rng.uniform(0.4, 1.0, 3000), rng.uniform(0.3, 0.9, 60)
    assert mia_svc(np.linspace(0.3, 0.39, 10), retain, test) == 100.0


def test_the_draw_is_fixed_by_the_seed():
    rng = np.random.default_rng(0)
    forget, retain, test = rng.beta(4, 2, 200), rng.beta(5, 2, 500), rng.beta(3, 2, 300)
    values = [mia_svc(forget, retain, test, max_examples=20, seed=s) for s in (0, 0, 1, 2, 3)]
    assert values[0] == values[1]
    assert len(set(values)) > 1


def test_the_cap_bounds_what_the_classifier_sees(monkeypatch):
    seen = []
    fit = SVC.fit
    monkeypatch.setattr(
        SVC, "fit", lambda self, x, y: seen.append((len(x), y.mean())) or fit(self, x, y)
    )
    mia_svc(HIGH, HIGH, LOW, max_examples=25)
    mia_svc(HIGH, HIGH, LOW)
    assert seen == [(50, 0.5), (120, 0.5)]


def test_shuffled_membership_tells_nothing():
    rng = np.random.default_rng(0)
    pool = rng.beta(4, 2, 900)
    values = [mia_svc(*np.split(rng.permutation(pool), 3)) for _ in range(10)]
    assert 35 < np.mean(values) < 65


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_confidence_is_a_coin_toss(value):
    same = np.full(10, value)
    assert mia_svc(np.array([0.3]), same, same) == 50.0


def test_one_example_each():
    assert mia_svc(np.array([0.1]), np.array([0.9]), np.array([0.1])) == 100.0


@pytest.mark.parametrize("bad", [np.array([1.2]), np.array([-0.1]), np.array([np.nan])])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(ValueError, match="retain_confidence runs from"):
        mia_svc(HIGH, bad, LOW)


@pytest.mark.parametrize("bad", [np.zeros(0), np.zeros((3, 1))])
def test_what_is_no_vector_is_refused(bad):
    with pytest.raises(ValueError, match="forget_confidence has shape"):
        mia_svc(bad, HIGH, LOW)


def test_an_empty_cap_is_refused():
    with pytest.raises(ValueError, match="max_examples is 0"):
        mia_svc(HIGH, HIGH, LOW, max_examples=0)
