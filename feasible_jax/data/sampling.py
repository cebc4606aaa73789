"""Stratified draws: as many of every class as its share says."""

import numpy as np


def stratified_sample(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of ``size`` examples, drawn without replacement and in proportion to the classes.

    Every class gets its exact share rounded down or up, the largest remainders up, ties by chance.

    Args:
      labels: ``(N,)`` integers.
      size: how many to draw, in ``[0, N]``.
      rng: the only source of randomness.

    Returns:
      ``(size,)`` indices into ``labels``, in ascending order.

    Raises:
      ValueError: if ``size`` is negative or above N.

    >>> labels = np.array([0] * 6 + [1] * 3)
    >>> drawn = stratified_sample(labels, 3, np.random.default_rng(0))
    >>> print(labels[drawn])
    [0 0 1]
    """
    if not 0 <= size <= len(labels):
        raise ValueError(f"cannot draw {size} of {len(labels)} examples: ask for fewer.")
    classes, counts = np.unique(labels, return_counts=True)
    shares = counts * size / max(len(labels), 1)
    quotas = np.floor(shares).astype(int)
    order = np.lexsort((rng.random(len(classes)), quotas - shares))
    quotas[order[: size - quotas.sum()]] += 1
    drawn = [
        rng.choice(np.flatnonzero(labels == label), quota, replace=False)
        for label, quota in zip(classes, quotas, strict=True)
    ]
    return np.sort(np.concatenate([np.zeros(0, int), *drawn]))
