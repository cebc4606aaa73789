"""The z-test of a mean: the central limit theorem taken at its word."""

from typing import Any

import jax

from feasible_jax.alignment.mean_tests.mean_test import MeanTest
from feasible_jax.alignment.mean_tests.sample import decided, read_sample, studentised


def normal_test() -> MeanTest:
    """The one-sided z-test, ``p = Phi(mean / standard error)``.

    Promises its level only in the limit of many examples. For the light-tailed changes of a small
    batch ``student_test`` is the better of the two; where harm is skewed neither holds its level,
    see ``hall_test``.

    Returns:
      A ``MeanTest`` named ``"normal"``.

    >>> import jax.numpy as jnp
    >>> p = normal_test().p_value(jnp.array([-3.0, -1.0, -2.0, 0.0]), None, None)
    >>> round(float(p), 4)
    0.0101
    """
    return MeanTest("normal", _p_value)


def _p_value(changes: jax.Array, weights: jax.Array | None, population_size: Any) -> jax.Array:
    sample = read_sample(changes, weights, population_size)
    return decided(sample, jax.scipy.special.ndtr(studentised(sample)))
