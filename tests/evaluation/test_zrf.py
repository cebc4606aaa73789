import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

from feasible_jax.evaluation import Predictions, zrf

LABELS = np.zeros(6, int)


def test_one_minus_the_mean_divergence_in_bits():
    rng = np.random.default_rng(0)
    model, teacher = (rng.normal(size=(6, 4)) * 2 for _ in range(2))
    distances = jensenshannon(softmax(model, axis=1), softmax(teacher, axis=1), base=2, axis=1)
    assert zrf(Predictions(model, LABELS), Predictions(teacher, LABELS)) == pytest.approx(
        1 - np.mean(distances**2)
    )


def test_runs_from_exclusion_to_the_teacher_itself():
    teacher = Predictions(np.tile([0.0, -np.inf], (6, 1)), LABELS)
    opposite = Predictions(np.tile([-np.inf, 0.0], (6, 1)), LABELS)
    assert zrf(teacher, teacher) == 1.0
    assert zrf(opposite, teacher) == pytest.approx(0.0)


def test_the_surer_the_further_from_a_teacher_without_an_opinion():
    teacher = Predictions(np.zeros((6, 4)), LABELS)
    values = [zrf(Predictions(np.eye(6, 4) * scale, LABELS), teacher) for scale in (0, 1, 3, 9)]
    assert values == sorted(values, reverse=True)
    assert values[0] == 1.0
