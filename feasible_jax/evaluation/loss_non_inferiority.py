"""Did the mean loss rise by less than a margin? A paired test on examples that no step has seen."""

import math
from functools import cache, partial

import jax
import numpy as np

from feasible_jax.alignment import DEFAULT_TEST, MeanTest, resolve_mean_test
from feasible_jax.evaluation.non_inferiority import NonInferiority
from feasible_jax.evaluation.pairs import check_level, paired
from feasible_jax.evaluation.per_example import cross_entropy
from feasible_jax.evaluation.predictions import Predictions
from feasible_jax.evaluation.smallest_accepted import bracket, smallest_accepted


def loss_non_inferiority(
    original: Predictions | np.ndarray,
    unlearned: Predictions | np.ndarray,
    *,
    margin: float = 0.05,
    confidence: float = 0.95,
    test: str | MeanTest = DEFAULT_TEST,
) -> NonInferiority:
    """Tests that the mean loss rose by less than a margin.

    A test of the mean of ``loss_unlearned - loss_original - margin``, one number an example. Losses
    have no bound and their changes are skewed, so this promises as much as that test of a mean
    does; accuracy is the safer yardstick, the loss the finer one. Measured at 5% with the default
    test and 500 or 2000 examples: 0.5 to 5% for normal, lognormal and t-distributed changes; 8.5%
    where 1% of the examples carry all harm and there are 500, so that about 5 of them are seen.

    Args:
      original: of the original model, ``Predictions``, or ``(n,)`` losses as from
        ``cross_entropy``.
      unlearned: of the unlearned model on the same examples, in the same order. Neither model may
        have been trained or chosen on them.
      margin: the smallest rise that matters, in the unit of the losses, not negative.
      confidence: in ``(0, 1)``.
      test: a ``MeanTest`` or its name.

    Returns:
      ``NonInferiority`` in the unit of the losses, nats for ``Predictions``. Where a loss is not
      finite, or there are too few examples for the test, the bound is infinite. Losses that all
      changed by the same number are taken to do so everywhere.

    Raises:
      ValueError: if there are no examples, the two are of different examples, the margin or the
        confidence is out of range, or there is no such test.

    >>> rng = np.random.default_rng(0)
    >>> original = rng.exponential(size=1000)
    >>> result = loss_non_inferiority(original, original + rng.normal(0.02, 0.1, 1000))
    >>> round(result.fall, 3), round(result.bound, 3), result.non_inferior
    (0.019, 0.025, True)
    """
    check_level(margin, confidence)
    mean_test = _named(test) if isinstance(test, str) else resolve_mean_test(test)
    before, after = paired(original, unlearned, cross_entropy)
    with np.errstate(invalid="ignore"):
        changes = after.astype(np.float64) - before.astype(np.float64)
        fall = float(changes.mean())
    if not math.isfinite(fall):
        return NonInferiority(math.inf if math.isnan(fall) else fall, math.inf, 1.0, False)

    def p_value(rise: float) -> float:
        return float(_p_value(mean_test, changes - rise))

    p, level = p_value(margin), 1 - confidence
    low, high = bracket(p_value, level, fall, float(np.ptp(changes)) or 1.0)
    bound = smallest_accepted(p_value, level, low, high) if math.isfinite(low + high) else high
    return NonInferiority(fall, bound, p, p <= level)


@cache
def _named(test: str) -> MeanTest:
    # A name stands for a new function each time, which would be compiled each time.
    return resolve_mean_test(test)


@partial(jax.jit, static_argnums=0)
def _p_value(test: MeanTest, changes: jax.Array) -> jax.Array:
    return test.p_value(changes, None, None)
