"""The slow oracle of the room: float64 numpy, one formula a line."""

import numpy as np
import pytest


def moments_in_float64(grads, weights=None):
    """Mean and unbiased variance of a ``(B, ...)`` stack, repeating examples as weights say."""
    grads = np.asarray(grads).astype(np.float64)
    if weights is not None:
        grads = np.repeat(grads, np.asarray(weights).astype(int), axis=0)
    mean = grads.mean(0) if len(grads) else np.zeros(grads.shape[1:])
    variance = grads.var(0, ddof=1) if len(grads) > 1 else np.full(grads.shape[1:], np.inf)
    return mean, variance, len(grads)


@pytest.fixture(scope="session")
def moments_oracle():
    return moments_in_float64
