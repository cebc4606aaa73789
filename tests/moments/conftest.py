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


def third_in_float64(grads, weights=None):
    """The unbiased third central moment of a ``(B, ...)`` stack, repeating examples likewise."""
    grads = np.asarray(grads).astype(np.float64)
    if weights is not None:
        grads = np.repeat(grads, np.asarray(weights).astype(int), axis=0)
    n = len(grads)
    if n < 3:
        return np.full(grads.shape[1:], np.nan)
    return n / (n - 1) / (n - 2) * np.sum((grads - grads.mean(0)) ** 3, axis=0)


@pytest.fixture(scope="session")
def moments_oracle():
    return moments_in_float64


@pytest.fixture(scope="session")
def third_oracle():
    return third_in_float64
