"""Histograms of the losses of forget and test examples, side by side."""

from typing import NamedTuple

import numpy as np


class LossHistogram(NamedTuple):
    """Two histograms over common bins.

    Attributes:
      edges: ``(bins + 1,)``, losses, evenly spaced on a logarithmic axis.
      forget: ``(bins,)``, the share of the forget examples in each bin; sums to 1.
      test: ``(bins,)``, the share of the test examples in each bin; sums to 1.

    >>> LossHistogram(np.array([0.1, 1.0]), np.ones(1), np.ones(1)).edges
    array([0.1, 1. ])
    """

    edges: np.ndarray
    forget: np.ndarray
    test: np.ndarray


def loss_histogram(
    forget_losses: np.ndarray,
    test_losses: np.ndarray,
    bins: int = 40,
    low: float = 1e-6,
    high: float = 100.0,
) -> LossHistogram:
    """Histograms of the losses on forget and test examples, over common logarithmic bins.

    Losses of a trained model span seven orders of magnitude, so a linear axis would show one
    bar. The range is fixed, not fitted, so that pictures of several models can be laid side by
    side; what lies outside, infinity too, counts in the first or the last bin. With the defaults a
    bin is a fifth of a decade. The nearer the two histograms, the less a loss gives away.

    Args:
      forget_losses: ``(N_forget,)`` per-example losses.
      test_losses: ``(N_test,)``, the same on examples never trained on.
      bins: how many.
      low: the left edge, above 0.
      high: the right edge.

    Returns:
      ``LossHistogram(edges, forget, test)``; draw it with ``plt.stairs(forget, edges)`` on a
      logarithmic axis.

    Raises:
      ValueError: if a set is empty or holds NaN, or not ``0 < low < high`` and ``bins >= 1``.

    >>> forget, test = np.array([0.0, 0.5]), np.array([0.5, np.inf])
    >>> loss_histogram(forget, test, bins=2, low=0.01, high=1.0)
    LossHistogram(edges=array([0.01, 0.1 , 1.  ]), forget=array([0.5, 0.5]), test=array([0., 1.]))
    """
    if not 0 < low < high < np.inf or bins < 1:
        raise ValueError(
            f"low {low}, high {high}, bins {bins}: need 0 < low < high and at least 1 bin."
        )
    edges = np.geomspace(low, high, bins + 1)
    return LossHistogram(
        edges, _shares("forget", forget_losses, edges), _shares("test", test_losses, edges)
    )


def _shares(name: str, losses: np.ndarray, edges: np.ndarray) -> np.ndarray:
    losses = np.asarray(losses, np.float64)
    if losses.size == 0 or np.isnan(losses).any():
        raise ValueError(
            f"{name}_losses of shape {losses.shape} is empty or holds NaN: "
            "cross_entropy() gives infinite losses instead."
        )
    counts, _ = np.histogram(np.clip(losses, edges[0], edges[-1]), edges)
    return counts / losses.size
