"""The bootstrap-t test of a mean: Student's statistic against its own resampled distribution."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.alignment.mean_tests.mean_test import MeanTest
from feasible_jax.alignment.mean_tests.sample import decided, read_sample, studentised


def bootstrap_test(resamples: int = 999, seed: int = 0) -> MeanTest:
    """The bootstrap-t test, ``p = (1 + #{T* <= T}) / (resamples + 1)``.

    ``T*`` is the studentised distance of a resample's mean from that of the batch. Like
    ``hall_test`` it corrects for skewness with an error of its level of order ``1 / n``, and like
    it only for the skewness that the batch shows, so that its level is exceeded under long tails.
    It never gives less than ``1 / (resamples + 1)``; choose ``(resamples + 1) * alpha`` whole.

    Which examples are drawn is fixed by the seed when the test is traced, a constant of
    ``(B, resamples)`` in the program; resamples are drawn with replacement also from a batch
    that was drawn without, whose standard error is corrected.

    Args:
      resamples: how many.
      seed: of the draws.

    Returns:
      A ``MeanTest`` named ``"bootstrap"``.

    Raises:
      ValueError: for fewer than one resample.

    B. Efron and R. J. Tibshirani (1993), "An introduction to the bootstrap", chapter 16; P. Hall
    (1988), "Theoretical comparison of bootstrap confidence intervals", Annals of Statistics 16.

    >>> import jax.numpy as jnp
    >>> rarely_harmed = jnp.array([-3.0] * 60 + [20.0] * 4)
    >>> bool(bootstrap_test().p_value(rarely_harmed, None, None) > 0.05)
    True
    """
    if resamples < 1:
        raise ValueError(f"resamples={resamples}: at least one is needed.")

    def p_value(changes: jax.Array, weights: jax.Array | None, population_size: Any) -> jax.Array:
        sample = read_sample(changes, weights, population_size)
        t = studentised(sample)
        n = sample.count
        # Row by row, so that a batch and the same batch padded draw the same.
        uniform = np.random.default_rng(seed).random((changes.size, resamples), np.float32)
        order = jnp.argsort(sample.weights == 0, stable=True)
        deviations = sample.values[order] - sample.mean
        position = jnp.floor(jnp.asarray(uniform, n.dtype) * n)
        position = jnp.minimum(position, jnp.maximum(n - 1, 0)).astype(jnp.int32)
        drawn = (jnp.arange(changes.size, dtype=n.dtype) < n)[:, None]
        resampled = jnp.where(drawn, deviations[position], 0)
        mean = jnp.sum(resampled, 0, keepdims=True) / jnp.maximum(n, 1)
        distances = jnp.where(drawn, resampled - mean, 0)
        variance = jnp.sum(distances**2, 0) / jnp.maximum(n - 1, 1)
        # T* <= T without dividing: a resample of one value has no variance.
        beyond = jnp.sum(mean[0] * jnp.sqrt(n) <= t * jnp.sqrt(variance))
        return decided(sample, ((1 + beyond) / (resamples + 1)).astype(n.dtype))

    return MeanTest("bootstrap", p_value)
