"""How to spend one level over many tests."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# How fast what a rejection earned fades, one rate for each quarter of it: runs in which most pass
# use it at once, and some of it is left after hundreds of tests in which nothing did.
_FADING = np.array([0.5, 0.9, 0.99, 0.999], np.float32)


class Spending(NamedTuple):
    """Shares of a level that depend on what was accepted before.

    Attributes:
      name: what it is and with which numbers, for whoever goes on with a run.
      init: ``() -> state``, a float32 array.
      share: ``state -> share`` of the level for the next test, in [0, 1].
      after: ``(state, accepted) -> state`` after it.

    >>> spending = online_fdr()
    >>> state = spending.after(spending.init(), True)
    >>> bool(spending.share(state) > spending.share(spending.init()))
    True
    """

    name: str
    init: Callable[[], jax.Array]
    share: Callable[[jax.Array], jax.Array]
    after: Callable[[jax.Array, Any], jax.Array]


def alpha_spending(steps: int | None = None) -> Callable[[Any], Any]:
    """Spend a level over the steps of a run, so that the whole run errs at most at that level.

    By the union bound, tests at levels ``alpha_t`` err at least once with probability at most ``sum
    alpha_t``. With a known number of steps each gets ``alpha / steps``; without, step ``t = 0, 1,
    ...`` gets ``alpha / ((t + 1)(t + 2))``, a series that sums to ``alpha``.

    Args:
      steps: the number of tests there will be, at least 1; None where nobody knows. Steps beyond
        it get nothing.

    Returns:
      ``step -> share`` of the level, in [0, 1], for ``feasible_updates(spending=...)`` and
      ``certify_updates(spending=...)``.

    Raises:
      ValueError: if ``steps`` is below 1.

    >>> float(alpha_spending(steps=20)(3)), round(float(alpha_spending()(0)), 3)
    (0.05000000074505806, 0.5)
    """
    if steps is not None and steps < 1:
        raise ValueError(f"steps={steps}: give a whole number of at least 1, or None.")

    def share(step):
        t = jnp.asarray(step).astype(jnp.float32)
        if steps is None:
            return 1 / ((t + 1) * (t + 2))
        return jnp.where(t < steps, jnp.float32(1 / steps), 0)

    return share


def online_fdr(wealth: float = 0.5) -> Spending:
    """Earn level with every update that passes, so that few of those applied do harm.

    A level of ``alpha`` at each step bounds how often harm is applied, not which share of what is
    applied does harm: where hardly an update is good, those that pass are mostly errors. This is
    online control of the false discovery rate: it starts with a fraction of ``alpha``, spends it
    over the tests, and earns up to ``alpha`` with each update that passes. At any time the sum of
    all levels used is at most ``alpha max(passed, 1)``. So is, where each test holds the level it
    is given, whatever was before, the expected number of harmful updates that were applied::

        E[harmful and applied] <= alpha E[max(applied, 1)].

    That is the marginal false discovery rate; the expected share itself, ``E[harmful / applied]``,
    is at most ``alpha`` where tests are independent, which those of a run are not. It takes one
    certificate for all constraints, last in the chain, for what it earns with must be what is
    applied; under a schedule of confidences ``alpha`` is the largest. Levels become far smaller
    than ``alpha`` after long without a pass: so must be what a batch may fail to show.

    Where all pass, the level rises to ``alpha``, two thirds of it within 100 tests; where few do,
    it falls, and after long without any there is hardly a level left.

    LORD++ (Javanmard and Montanari, 2018; Ramdas, Yang, Wainwright and Jordan, 2017, arXiv
    1710.00499): test ``t`` has the level ``alpha (w gamma_t + (1 - w) gamma_(t - tau_1) + sum_(j >
    1) gamma_(t - tau_j))``, ``tau_j`` the times of passing, with ``gamma`` a mixture of four
    geometric series, of which a state of five numbers is enough.

    Args:
      wealth: the fraction ``w`` of ``alpha`` to begin with, in (0, 1).

    Returns:
      A ``Spending`` for ``certify_updates(spending=...)``.

    Raises:
      ValueError: for a wealth outside (0, 1).

    >>> spending = online_fdr()
    >>> state, shares = spending.init(), []
    >>> for accepted in (True, True, False, False, False):
    ...     shares.append(round(float(spending.share(state)), 2))
    ...     state = spending.after(state, accepted)
    >>> shares
    [0.08, 0.12, 0.22, 0.13, 0.09]
    """
    if not 0 < wealth < 1:
        raise ValueError(f"wealth={wealth}: give a fraction in (0, 1), such as 0.5.")
    first = (1 - _FADING) / np.float32(len(_FADING))

    def init() -> jax.Array:
        # What is left of everything earned, by rate, and last whether anything has passed.
        return jnp.asarray(np.append(np.float32(wealth) * first, np.float32(0)))

    def share(state: jax.Array) -> jax.Array:
        return jnp.sum(state[:-1])

    def after(state: jax.Array, accepted: Any) -> jax.Array:
        accepted = jnp.asarray(accepted, state.dtype)
        passed = state[-1]
        earned = accepted * jnp.where(passed > 0, 1, 1 - wealth)
        return jnp.concatenate(
            [state[:-1] * _FADING + earned * first, jnp.maximum(passed, accepted)[None]]
        )

    return Spending(f"online_fdr({wealth})", init, share, after)
