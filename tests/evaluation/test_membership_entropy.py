import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from feasible_jax.evaluation import mia_entropy

LOW, HIGH = np.linspace(0.0, 0.3, 60), np.linspace(1.8, 2.2, 90)


def test_the_share_predicted_member():
    assert mia_entropy(LOW, LOW, HIGH) == 100.0
    assert mia_entropy(HIGH, LOW, HIGH) == 0.0
    assert mia_entropy(np.concatenate([LOW, HIGH]), LOW, HIGH) == 40.0


def test_entropy_may_point_either_way():
    assert mia_entropy(HIGH, HIGH, LOW) == 100.0


def test_agrees_with_the_classifier_of_its_source():
    rng = np.random.default_rng(0)
    forget, retain, test = rng.gamma(1, 0.5, 40), rng.gamma(1, 0.3, 200), rng.gamma(1, 0.9, 70)
    attack = LogisticRegression(class_weight="balanced")
    attack.fit(np.r_[retain, test][:, None], np.r_[np.ones(200), np.zeros(70)])
    expected = 100 * attack.predict(forget[:, None]).mean()
    assert 10 < expected < 90
    assert mia_entropy(forget, retain, test) == expected


def test_the_larger_set_does_not_win_by_its_size():
    # Unbalanced, calling everything a member would be the best classifier.
    rng = np.random.default_rng(0)
    retain, test = rng.uniform(0.0, 1.0, 3000), rng.uniform(0.2, 1.2, 60)
    assert mia_entropy(np.linspace(0.9, 1.2, 10), retain, test) == 0.0


def test_shuffled_membership_tells_nothing():
    rng = np.random.default_rng(0)
    pool = rng.gamma(1, 0.5, 900)
    values = [mia_entropy(*np.split(rng.permutation(pool), 3)) for _ in range(20)]
    assert 35 < np.mean(values) < 65


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_constant_entropy_is_a_coin_toss(value):
    same = np.full(10, value)
    assert mia_entropy(np.array([0.3]), same, same) == 50.0


@pytest.mark.parametrize("bad", [np.array([-0.1]), np.array([np.nan]), np.array([np.inf])])
def test_what_is_no_entropy_is_refused(bad):
    with pytest.raises(ValueError, match="retain_entropy runs from"):
        mia_entropy(HIGH, bad, LOW)


@pytest.mark.parametrize("bad", [np.zeros(0), np.zeros((3, 1))])
def test_what_is_no_vector_is_refused(bad):
    with pytest.raises(ValueError, match="test_entropy has shape"):
        mia_entropy(HIGH, LOW, bad)
