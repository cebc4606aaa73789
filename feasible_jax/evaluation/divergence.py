"""How far apart the predictions of two models are, example by example."""

import math

import numpy as np
from scipy.special import log_softmax

from feasible_jax.evaluation.predictions import Predictions


def js_divergence(predictions: Predictions, others: Predictions) -> np.ndarray:
    """The Jensen-Shannon divergence of the predicted probabilities of each example, in nats.

    ``KL(p || m) / 2 + KL(q || m) / 2`` with ``m = (p + q) / 2``: symmetric, and bounded. 0 means
    the same predictions. From the retrained model's, lower is better; whether either is right does
    not come in. Computed from logarithms, so that nothing underflows to a wrong zero. Source: Lin,
    "Divergence measures based on the Shannon entropy" (1991); from a retrained model, Chundawat et
    al. (2023, arXiv 2205.08096).

    Args:
      predictions: of one model; logits ``(N, C)``.
      others: of the other model, on the same examples in the same order.

    Returns:
      ``(N,)`` float64 in ``[0, log 2]``; ``log 2``, the most there is, where the logits of either
      hold NaN or +inf.

    Raises:
      ValueError: if the two are not of the same examples and classes.

    >>> labels = np.zeros(2, int)
    >>> sure = Predictions(np.array([[0.0, -np.inf], [0.0, -np.inf]]), labels)
    >>> other = Predictions(np.array([[0.0, -np.inf], [-np.inf, 0.0]]), labels)
    >>> js_divergence(sure, other).round(4)
    array([0.    , 0.6931])
    """
    log_p, log_q, valid = _log_probabilities(predictions, others)
    log_middle = np.logaddexp(log_p, log_q) - math.log(2)
    both = (_relative(log_p, log_middle) + _relative(log_q, log_middle)) / 2
    return np.where(valid, np.clip(both, 0, math.log(2)), math.log(2))


def kl_divergence(predictions: Predictions, reference: Predictions) -> np.ndarray:
    """The Kullback-Leibler divergence of each example's prediction from a reference, in nats.

    ``KL(reference || model) = sum_c p_ref(c) (log p_ref(c) - log p(c))``: what the model's
    cross-entropy on labels drawn from the reference exceeds the least possible one by. 0 means the
    same predictions, and it has no upper bound: one class that the reference finds likely and the
    model all but impossible is enough. Lower is better where the reference is the retrained model.

    Args:
      predictions: of the model at hand; logits ``(N, C)``.
      reference: of the reference, on the same examples in the same order.

    Returns:
      ``(N,)`` float64 in ``[0, inf]``; infinite where the logits of either hold NaN or +inf.

    Raises:
      ValueError: if the two are not of the same examples and classes.

    >>> labels = np.zeros(1, int)
    >>> half, tenth = (Predictions(np.log([[p, 1 - p]]), labels) for p in (0.5, 0.1))
    >>> kl_divergence(tenth, half).round(4)
    array([0.5108])
    """
    log_p, log_reference, valid = _log_probabilities(predictions, reference)
    return np.where(valid, np.maximum(_relative(log_reference, log_p), 0), np.inf)


def _relative(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    p = np.exp(log_p)
    # What p rules out costs nothing, even where q rules it out too: -inf minus -inf is no number.
    with np.errstate(invalid="ignore"):
        return np.where(p > 0, p * (log_p - log_q), 0.0).sum(axis=1)


def _log_probabilities(predictions: Predictions, others: Predictions):
    """Both models' log-probabilities, and which examples both have some for."""
    _check(predictions, others)
    pair = [np.asarray(each.logits, np.float64) for each in (predictions, others)]
    valid = np.logical_and(*(np.isfinite(logits.max(axis=1)) for logits in pair))
    log_p, log_q = (log_softmax(np.where(valid[:, None], x, 0.0), axis=1) for x in pair)
    return log_p, log_q, valid


def _check(predictions: Predictions, others: Predictions) -> None:
    shapes = predictions.logits.shape, others.logits.shape
    if len(shapes[0]) != 2 or shapes[0] != shapes[1] or 0 in shapes[0]:
        raise ValueError(
            f"logits have shape {shapes[0]} and {shapes[1]}: give (N, num_classes) for both, with "
            "N at least 1."
        )
    if not np.array_equal(predictions.labels, others.labels):
        raise ValueError(
            "the labels of the two differ: let both models predict the same examples, in order."
        )
