"""Zero retrain forgetting: how close a model is to one that knows nothing."""

import math

from feasible_jax.evaluation.divergence import js_divergence
from feasible_jax.evaluation.predictions import Predictions


def zrf(forget: Predictions, teacher: Predictions) -> float:
    """Zero retrain forgetting (ZRF): closeness to an incompetent teacher on the forget set.

    ``1 - mean JS(model, teacher)``, the Jensen-Shannon divergence in base 2. 1 means that the model
    predicts what the teacher does, 0 that the two exclude each other everywhere. It was made for
    when there is no retrained model; where there is one, that model's value is the target, and a
    value far above it says that the model was made to look ignorant. Source: Chundawat et al., "Can
    bad teaching induce forgetting?", AAAI 2023 (arXiv 2205.08096).

    Args:
      forget: the model's predictions on the forget set.
      teacher: those of a model that never learned, such as one with ``random_params``.

    Returns:
      A number in ``[0, 1]``.

    Raises:
      ValueError: if the two are not of the same examples and classes.

    >>> import numpy as np
    >>> teacher = Predictions(np.zeros((2, 2)), np.array([0, 1]))
    >>> sure = Predictions(np.array([[0.0, -np.inf], [0.0, -np.inf]]), np.array([0, 1]))
    >>> zrf(teacher, teacher), round(zrf(sure, teacher), 4)
    (1.0, 0.6887)
    """
    return 1.0 - float(js_divergence(forget, teacher).mean()) / math.log(2)
