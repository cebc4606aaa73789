import numpy as np
import pytest

from feasible_jax.evaluation import Predictions, correct
from feasible_jax.evaluation.pairs import check_level, paired


def predictions(*labels):
    return Predictions(np.eye(3, dtype=np.float32)[: len(labels)], np.array(labels))


def test_numbers_are_passed_on_and_predictions_are_read():
    before, after = paired(np.array([1, 0]), [0, 0], correct)
    assert (before.tolist(), after.tolist()) == ([1, 0], [0, 0])
    before, after = paired(predictions(0, 1, 0), predictions(0, 1, 0), correct)
    assert before.tolist() == after.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("original", "unlearned", "message"),
    [
        (np.ones(3), np.ones(2), r"original has shape \(3,\) and unlearned \(2,\)"),
        (np.ones(0), np.ones(0), "at least one"),
        (np.ones((2, 1)), np.ones((2, 1)), r"give \(n,\) for both"),
        (predictions(0, 1), predictions(1, 0), "the same examples, in order"),
        (predictions(0, 1), predictions(0), "the same examples, in order"),
        (predictions(0, 1), np.ones(2), "give both models alike"),
    ],
)
def test_what_is_no_pair_is_refused(original, unlearned, message):
    with pytest.raises(ValueError, match=message):
        paired(original, unlearned, correct)


@pytest.mark.parametrize(
    ("margin", "confidence", "message"),
    [
        (-0.1, 0.95, "margin is -0.1"),
        (np.nan, 0.95, "margin is nan"),
        (np.inf, 0.95, "margin is inf"),
        (0.5, 0.0, "confidence is 0.0"),
        (0.5, 1.0, "between 0 and 1, such as 0.95"),
        (0.5, np.nan, "confidence is nan"),
    ],
)
def test_levels_out_of_range_are_refused(margin, confidence, message):
    with pytest.raises(ValueError, match=message):
        check_level(margin, confidence)
