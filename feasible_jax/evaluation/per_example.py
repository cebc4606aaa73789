"""Loss, confidence, margin, entropy and correctness of each example, of a diverged model too."""

import numpy as np
from scipy.special import entr, logsumexp, softmax

from feasible_jax.evaluation.predictions import Predictions


def cross_entropy(predictions: Predictions) -> np.ndarray:
    """The cross-entropy of each example, in nats.

    ``logsumexp(logits) - logits[label]``, in float64 so that confident examples do not all tie
    at zero. Logits that hold NaN or +inf say nothing, so their loss is infinite: a model that
    diverged gets the worst loss, and no yardstick downstream meets a NaN.

    Args:
      predictions: logits ``(N, C)`` and labels ``(N,)``.

    Returns:
      ``(N,)`` float64 in ``[0, inf]``; lower means that the model fits the label better.

    Raises:
      ValueError: if the shapes do not fit or a label is no column of the logits.

    >>> logits = np.array([[0.0, 0.0], [0.0, -np.inf], [np.nan, 0.0]], np.float32)
    >>> cross_entropy(Predictions(logits, np.array([0, 1, 1]))).round(3)
    array([0.693,   inf,   inf])
    """
    _check(predictions)
    logits = predictions.logits.astype(np.float64)
    top = logits.max(axis=1)
    valid = np.isfinite(top)
    shifted = np.where(valid[:, None], logits - np.where(valid, top, 0.0)[:, None], 0.0)
    losses = np.log(np.exp(shifted).sum(axis=1)) - _of_label(shifted, predictions.labels)
    return np.where(valid, losses, np.inf)


def label_confidence(predictions: Predictions) -> np.ndarray:
    """The probability that the model gives to each example's label.

    ``softmax(logits)[label] = exp(-cross_entropy)``.

    Args:
      predictions: logits ``(N, C)`` and labels ``(N,)``.

    Returns:
      ``(N,)`` float64 in ``[0, 1]``; 0 where the logits hold NaN or +inf.

    Raises:
      ValueError: if the shapes do not fit or a label is no column of the logits.

    >>> label_confidence(Predictions(np.zeros((1, 4), np.float32), np.array([2])))
    array([0.25])
    """
    return np.exp(-cross_entropy(predictions))


def label_margin(predictions: Predictions) -> np.ndarray:
    """The logit of each example's label, less the log-sum-exp of the other logits.

    ``log(p / (1 - p))`` of the label's probability ``p``: the logit-scaled confidence of LiRA
    (Carlini et al., 2022, arXiv 2112.03570) and the margin of KLoM. Unlike the probability, it does
    not pile up at 1, and over models it is nearly normal. Computed from the logits, so that
    confident examples keep their differences.

    Args:
      predictions: logits ``(N, C)`` and labels ``(N,)``.

    Returns:
      ``(N,)`` float64 in ``[-inf, inf]``, above 0 where the label has more than half of the
      probability; ``-inf`` where the logits hold NaN or +inf.

    Raises:
      ValueError: if the shapes do not fit or a label is no column of the logits.

    >>> label_margin(Predictions(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([0, 0])))
    array([2., 0.])
    """
    _check(predictions)
    logits = predictions.logits.astype(np.float64)
    valid = np.isfinite(logits.max(axis=1))
    logits = np.where(valid[:, None], logits, 0.0)
    is_label = np.arange(logits.shape[1]) == predictions.labels[:, None]
    rest = logsumexp(np.where(is_label, -np.inf, logits), axis=1)
    return np.where(valid, _of_label(logits, predictions.labels) - rest, -np.inf)


def entropy(predictions: Predictions) -> np.ndarray:
    """The entropy of each example's predicted probabilities, in nats.

    ``-sum_c p_c log p_c``.

    Args:
      predictions: logits ``(N, C)`` and labels ``(N,)``; the labels do not matter.

    Returns:
      ``(N,)`` float64 in ``[0, log C]``; ``log C`` where the logits hold NaN or +inf, which say
      nothing.

    Raises:
      ValueError: if the shapes do not fit or a label is no column of the logits.

    >>> logits = np.array([[0.0, 0.0], [0.0, -np.inf]])
    >>> entropy(Predictions(logits, np.array([0, 1]))).round(3)
    array([0.693, 0.   ])
    """
    _check(predictions)
    logits = predictions.logits.astype(np.float64)
    valid = np.isfinite(logits.max(axis=1))
    return entr(softmax(np.where(valid[:, None], logits, 0.0), axis=1)).sum(axis=1)


def correct(predictions: Predictions) -> np.ndarray:
    """Whether the largest logit is the label's.

    Args:
      predictions: logits ``(N, C)`` and labels ``(N,)``. Of equal logits the first counts.

    Returns:
      ``(N,)`` booleans; False where the logits hold NaN or +inf.

    Raises:
      ValueError: if the shapes do not fit or a label is no column of the logits.

    >>> correct(Predictions(np.eye(2, dtype=np.float32), np.array([0, 0])))
    array([ True, False])
    """
    _check(predictions)
    # np.argmax takes NaN for the largest, which would make a diverged model right now and then.
    valid = np.isfinite(predictions.logits.max(axis=1))
    return valid & (predictions.logits.argmax(axis=1) == predictions.labels)


def _of_label(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, labels[:, None], axis=1)[:, 0]


def _check(predictions: Predictions) -> None:
    logits, labels = predictions
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(labels) == 0:
        raise ValueError(
            f"logits have shape {logits.shape} and labels {labels.shape}: "
            "give (N, num_classes) and (N,), with N at least 1."
        )
    # A negative label, such as an ignore index of -100, would silently count from the end.
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, but logits of shape "
            f"{logits.shape} have classes 0 to {logits.shape[1] - 1}: renumber the labels."
        )
