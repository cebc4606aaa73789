"""Forgetting quality, as the NeurIPS 2023 unlearning challenge scored it."""

import math
from typing import NamedTuple

import numpy as np

from feasible_jax.evaluation.ensembles import matched_margins

_CAP = 50.0
_BUCKET = 0.5
# With so much narrower a range, an ensemble is taken for separated.
_PEAKED = 0.01
# Of an interval's width and right end, to those of the narrower range, in units of the margin.
_SLACK = 2.0


class ForgettingQuality(NamedTuple):
    """How hard unlearned models are to tell from retrained ones.

    Attributes:
      score: in ``[0, 1]``, the mean over examples of 1, 1/2, 1/4, ... by the bucket of epsilon.
      epsilons: ``(N,)`` an estimate for each example, in ``[0, 50]``.

    >>> ForgettingQuality(1.0, np.zeros(3)).score
    1.0
    """

    score: float
    epsilons: np.ndarray


def forgetting_quality(
    unlearned: np.ndarray, retrained: np.ndarray, delta: float = 1e-5
) -> ForgettingQuality:
    """The forgetting quality of the NeurIPS 2023 unlearning challenge.

    If unlearning were (epsilon, delta)-indistinguishable from retraining, an attack with false
    positive rate FPR and false negative rate FNR would need

    ``epsilon >= max(log(1 - delta - FPR) - log FNR, log(1 - delta - FNR) - log FPR)``.

    For each example the largest such bound over two families of attacks on the margin is taken: one
    threshold, above which a model is taken for the kind with the larger median; and an interval
    about as wide as the narrower range, within which it is taken for that kind. An attack with
    exactly one rate of 0 is skipped, for it says that there are few models; one without errors is
    worth infinity, as are ensembles of which one ranges over less than a hundredth of the other.
    Epsilons are capped at 50, margins limited to [-100, 100]. An example scores 1 below 0.5, 1/2
    below 1, 1/4 below 1.5, and so on up to ``ceil(log(M - 1))``, the most that M models can show,
    and 0 from there.

    The attacks are tried at every value that occurs, where the original goes over a grid of 0.01.
    They are chosen and judged on the same few models, so that retrained models beside other
    retrained ones score far below 1. **That score is the target**; without it no score can be read.
    Source: Triantafillou et al., "Are we making progress in unlearning?" (2024, arXiv 2406.09073)
    and the competition's own code.

    Args:
      unlearned: ``(M, N)`` margins of M unlearned models on N forget examples, see
        ``ensemble_margins``; the competition had M = 512.
      retrained: ``(M, N)``, the same of models that never saw the examples.
      delta: in ``[0, 1)``.

    Returns:
      ``ForgettingQuality(score, epsilons)``.

    Raises:
      ValueError: if there are fewer than 3 models a side, the shapes differ, a margin is NaN, or
        ``delta`` is out of range.

    >>> margins = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> forgetting_quality(margins, margins).score, forgetting_quality(margins + 9, margins).score
    (1.0, 0.0)
    """
    if not 0 <= delta < 1:
        raise ValueError(f"delta is {delta}: give a small probability, such as 1e-5.")
    unlearned, retrained = matched_margins(unlearned, retrained, at_least=3)
    worth = _worth(len(unlearned), delta)
    pairs = zip(unlearned.T, retrained.T, strict=True)
    epsilons = np.array([_epsilon(*pair, worth) for pair in pairs])
    return ForgettingQuality(float(_points(epsilons, len(unlearned)).mean()), epsilons)


def _worth(models: int, delta: float) -> np.ndarray:
    """Epsilon by the number of errors: ``[false positives, false negatives]``, of so many each."""
    rates = np.arange(models + 1) / models
    fpr, fnr = rates[:, None], rates[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        bounds = np.log(1 - delta - fpr) - np.log(fnr), np.log(1 - delta - fnr) - np.log(fpr)
    epsilons = np.fmax(np.fmax(*bounds), 0.0)
    epsilons[0, :] = epsilons[:, 0] = 0.0
    epsilons[0, 0] = math.inf
    return np.minimum(epsilons, _CAP)


def _epsilon(unlearned: np.ndarray, retrained: np.ndarray, worth: np.ndarray) -> float:
    ranges = sorted((np.ptp(unlearned), np.ptp(retrained)))
    if ranges[0] < _PEAKED * ranges[1]:
        return _CAP
    values = np.unique([unlearned, retrained])
    high, low = _ordered(unlearned, retrained, np.median(retrained) > np.median(unlearned))
    narrow, wide = _ordered(unlearned, retrained, np.ptp(retrained) < np.ptp(unlearned))
    models = len(unlearned)
    above = worth[models - _up_to(values, low), _up_to(values, high)]
    inside = worth[_within(values, wide), models - _within(values, narrow)]
    return float(max(above.max(), inside[_about_as_wide(values, narrow)].max(initial=0.0)))


def _ordered(unlearned, retrained, swap) -> tuple[np.ndarray, np.ndarray]:
    return (retrained, unlearned) if swap else (unlearned, retrained)


def _up_to(values: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """How many margins are at most each value, after the zero below all of them."""
    return np.searchsorted(np.sort(margins), np.append(-np.inf, values), side="right")


def _within(values: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """How many margins lie from the row's to the column's value, both included."""
    up_to = _up_to(values, margins)
    return np.maximum(up_to[None, 1:] - up_to[:-1, None], 0)


def _about_as_wide(values: np.ndarray, narrow: np.ndarray) -> np.ndarray:
    """Whether ends that select just these values may be as near to the narrower range as asked."""
    ends = np.concatenate([[-np.inf], values, [np.inf]])
    lefts, rights = (ends[:-2], ends[1:-1]), (ends[1:-1], ends[2:])
    low, high = narrow.min(), narrow.max()
    first = np.maximum(rights[0], high - _SLACK)
    last = np.minimum(rights[1], high + _SLACK)
    shortest, longest = first[None, :] - lefts[1][:, None], last[None, :] - lefts[0][:, None]
    near = (shortest <= high - low + _SLACK) & (longest >= high - low - _SLACK)
    return near & (first <= last)[None, :]


def _points(epsilons: np.ndarray, models: int) -> np.ndarray:
    buckets = int(math.ceil(math.log(models - 1)) / _BUCKET)
    bucket = (epsilons / _BUCKET).astype(int)
    return np.where(bucket < buckets, 0.5**bucket, 0.0)
