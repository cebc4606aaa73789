"""Accuracy, in percent."""

from feasible_jax.evaluation.per_example import correct
from feasible_jax.evaluation.predictions import Predictions


def accuracy(predictions: Predictions) -> float:
    """The share of examples whose label has the largest logit, in percent.

    Retain accuracy (RA) and test accuracy (TA) are this on the retain and the test set. Neither
    100 nor the original model's value is the target: the retrained model's value is.

    Args:
      predictions: logits ``(N, C)`` and labels ``(N,)``.

    Returns:
      A number in ``[0, 100]``.

    Raises:
      ValueError: if the shapes do not fit or a label is no column of the logits.

    >>> import numpy as np
    >>> accuracy(Predictions(np.eye(4, dtype=np.float32), np.array([0, 1, 2, 0])))
    75.0
    """
    return 100.0 * float(correct(predictions).mean())


def unlearning_accuracy(forget: Predictions) -> float:
    """Unlearning accuracy (UA): 100 minus the accuracy on the forget set, in percent.

    The target is the retrained model's value, which is far below 100 when the forget set was
    drawn at random: a model may well be right about images it has never seen.
    Source: Jia et al., "Model sparsity can simplify machine unlearning", NeurIPS 2023
    (arXiv 2304.04934).

    Args:
      forget: the predictions on the forget set.

    Returns:
      A number in ``[0, 100]``.

    Raises:
      ValueError: if the shapes do not fit or a label is no column of the logits.

    >>> import numpy as np
    >>> unlearning_accuracy(Predictions(np.eye(4, dtype=np.float32), np.array([0, 1, 2, 0])))
    25.0
    """
    return 100.0 - accuracy(forget)
