import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from feasible_jax.evaluation import Predictions, accuracy, unlearning_accuracy


def test_agrees_with_scikit_learn_in_percent():
    rng = np.random.default_rng(0)
    predictions = Predictions(rng.normal(size=(50, 4)).astype(np.float32), rng.integers(0, 4, 50))
    expected = 100 * accuracy_score(predictions.labels, predictions.logits.argmax(1))
    assert accuracy(predictions) == pytest.approx(expected)
    assert unlearning_accuracy(predictions) == pytest.approx(100 - expected)


@pytest.mark.parametrize(("shift", "expected"), [(0, 100.0), (1, 0.0)])
def test_all_right_and_all_wrong(shift, expected):
    labels = (np.arange(5) + shift) % 5
    predictions = Predictions(np.eye(5, dtype=np.float32), labels)
    assert accuracy(predictions) == expected
    assert unlearning_accuracy(predictions) == 100 - expected


def test_a_model_that_outputs_nan_is_never_right():
    predictions = Predictions(np.full((4, 2), np.nan, np.float32), np.zeros(4, int))
    assert accuracy(predictions) == 0.0
