"""The betting test of a mean: valid for every number of examples where harm is bounded."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.alignment.mean_tests.mean_test import MeanTest
from feasible_jax.alignment.mean_tests.sample import clipped, decided, read_sample

# Geometric, for the growth of a bet is quadratic in it: the best of these has at least 5/6 of what
# any bet in between has.
_BETS = 0.9375 * 0.5 ** np.arange(16)
_MOST = 2.0**30


def betting_test(bound: float) -> MeanTest:
    """The test by betting: ``p = min(1, 1 / wealth)`` of gamblers who bet on improvement.

    With gains ``g = -min(change, bound) / bound``, at least -1, a gambler who stakes a share
    ``s`` of the wealth on each example ends with ``prod_i (1 + s g_i)``. If ``E[change] >= 0``, no
    game is in the gambler's favour, the expected wealth is at most 1, and by Markov's inequality it
    reaches ``1 / alpha`` with probability ``alpha`` at most: for every population of changes up
    to ``bound`` and at every ``n``. The wealth is the average over 16 stakes from 0.94 down by
    halves (diversified Kelly betting), so it does not depend on the order of the examples.

    Improvements need no bound. Clipping them only raises the mean and keeps the promise (it is done
    at ``2^30`` bounds). Harm above ``bound`` is clipped too, which lowers the mean: the certificate
    then speaks of ``min(change, bound)``, not of the change. The promise excludes the one case
    that every test decides alike, changes that are all exactly 0.

    The price of the promise: small improvements under a large bound are hard to certify, they take
    at least ``log(1 / alpha) * bound / improvement`` examples. ``gaffke_test`` with ``worst`` has
    more power under the same bound.

    Of a population drawn without replacement, the gains still to come average at most ``-(gains so
    far) / (number still to come)`` under the hypothesis; bets are made against that.

    Args:
      bound: the largest change that is possible, in units of the changes.

    Returns:
      A ``MeanTest`` named ``"betting"``. Changes that are all equal and below 0 are no certainty to
      it: harm may be rare.

    Raises:
      ValueError: for a bound that is not above 0 and finite.

    I. Waudby-Smith and A. Ramdas (2024), "Estimating means of bounded random variables by betting",
    JRSS B 86, sections 4 and 5 and appendix B.

    >>> import jax.numpy as jnp
    >>> improved = -jnp.ones(16)
    >>> test = betting_test(bound=1.0)
    >>> float(test.p_value(improved, None, None)) < 0.01
    True
    >>> float(test.p_value(improved.at[0].set(1.0), None, None)) < 0.01
    False
    """
    if not 0 < bound < float("inf"):
        raise ValueError(f"bound={bound}: the largest possible change is above 0 and finite.")

    def p_value(changes: jax.Array, weights: jax.Array | None, population_size: Any) -> jax.Array:
        sample = read_sample(clipped(changes, bound), weights, population_size)
        dtype, there = sample.values.dtype, sample.weights > 0
        gains = -sample.values * jnp.minimum(sample.scale / bound, _MOST)
        if population_size is None:
            fair = jnp.zeros_like(gains)
        else:
            before = jnp.cumsum(gains) - gains
            to_come = jnp.asarray(population_size, dtype) - jnp.cumsum(sample.weights) + 1
            fair = -before / jnp.maximum(to_come, 1)
        # Staked so that a loss of -1 is affordable also where losses were to be expected.
        stakes = jnp.asarray(_BETS, dtype)[:, None] / jnp.maximum(1 + fair, 1)[None]
        growth = jnp.log1p(stakes * (gains - fair)[None])
        wealth = jnp.sum(jnp.where(there[None], growth, 0), 1)
        p = jnp.exp(jnp.minimum(math.log(len(_BETS)) - jax.scipy.special.logsumexp(wealth), 0))
        return decided(sample, p, equality_is_certain=False)

    return MeanTest("betting", p_value)
