"""Membership inference by a threshold on the loss, over all thresholds at once."""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np


class AUC(NamedTuple):
    """An area under the ROC curve and its confidence interval, all in ``[0, 1]``.

    >>> AUC(0.5, 0.45, 0.55).low
    0.45
    """

    auc: float
    low: float
    high: float


def mia_auc(forget_losses: np.ndarray, test_losses: np.ndarray, confidence: float = 0.95) -> AUC:
    """How well a threshold on the loss tells forget examples from test examples.

    ``P(test loss > forget loss) + P(tie) / 2``: 0.5 means indistinguishable, above 0.5 that
    forget examples still look like members of the training set, below that they stand out by
    their HIGH loss. The target is the retrained model's value, 0.5 only where the forget set was
    drawn at random from what the test set was drawn from. The attack is that of Yeom et al. (2018).

    The variance is DeLong's (1988), by midranks as in Sun and Xu (2014), and the interval
    symmetric on the logit scale, so it stays inside (0, 1). Where the variance is zero (perfect
    separation, nothing but ties) or unknown (a single example), the interval is all p with
    ``k KL(auc || p) <= log(2 / (1 - confidence))``, k the size of the smaller set, which holds at
    any size (Hoeffding 1963) and is the exact binomial bound ``p >= ((1 - confidence)/2)**(1/k)``
    at an AUC of one.

    Args:
      forget_losses: ``(N_forget,)`` per-example losses; infinite ones are the largest, and tie.
      test_losses: ``(N_test,)``, the same on examples never trained on.
      confidence: of the two-sided interval, in ``(0, 1)``.

    Returns:
      ``AUC(auc, low, high)``.

    Raises:
      ValueError: if a set is empty or not a vector, a loss is NaN, or the confidence is outside
        ``(0, 1)``.

    >>> mia_auc(np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.3, 0.5])).auc.__round__(3)
    0.667
    """
    forget, test = np.asarray(forget_losses), np.asarray(test_losses)
    _check(forget, test, confidence)
    wins_of_forget, wins_of_test = _placements(forget, test)
    auc = float(wins_of_forget.mean())
    smaller = min(len(forget), len(test))
    constant = np.ptp(wins_of_forget) == 0 and np.ptp(wins_of_test) == 0
    if constant or smaller < 2:
        return AUC(auc, *_chernoff_interval(auc, smaller, confidence))
    variance = wins_of_forget.var(ddof=1) / len(forget) + wins_of_test.var(ddof=1) / len(test)
    return AUC(auc, *_logit_interval(auc, float(variance), confidence))


def _placements(forget: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of the other set that each example wins against; both have the AUC as mean."""
    ranks = _midranks(np.concatenate([forget, test]))
    below_forget = (ranks[: len(forget)] - _midranks(forget)) / len(test)
    below_test = (ranks[len(forget) :] - _midranks(test)) / len(forget)
    return 1.0 - below_forget, below_test


def _midranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _logit_interval(auc: float, variance: float, confidence: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    half = z * math.sqrt(variance) / (auc * (1 - auc))
    centre = math.log(auc / (1 - auc))
    # tanh saturates where exp would overflow.
    return 0.5 + 0.5 * math.tanh((centre - half) / 2), 0.5 + 0.5 * math.tanh((centre + half) / 2)


def _chernoff_interval(auc: float, pairs: int, confidence: float) -> tuple[float, float]:
    bound = math.log(2 / (1 - confidence)) / pairs
    return _furthest(auc, 0.0, bound), _furthest(auc, 1.0, bound)


def _furthest(auc: float, end: float, bound: float) -> float:
    if auc == end:
        return end
    inside, outside = auc, end
    for _ in range(60):
        middle = (inside + outside) / 2
        if _kl(auc, middle) <= bound:
            inside = middle
        else:
            outside = middle
    return inside


def _kl(p: float, q: float) -> float:
    if q in (0.0, 1.0):
        return 0.0 if p == q else math.inf
    parts = ((p, q), (1 - p, 1 - q))
    return sum(a * math.log(a / b) for a, b in parts if a > 0)


def _check(forget: np.ndarray, test: np.ndarray, confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: give a level between 0 and 1, such as 0.95.")
    for name, values in (("forget", forget), ("test", test)):
        if values.ndim != 1 or len(values) == 0:
            raise ValueError(
                f"{name}_losses has shape {values.shape}: give one loss an example, "
                "and at least one example."
            )
        if np.isnan(values).any():
            raise ValueError(
                f"{name}_losses of shape {values.shape} holds {int(np.isnan(values).sum())} NaN: "
                "a NaN has no rank; cross_entropy() gives infinite losses instead."
            )
