"""Gaffke's test of a mean: what the unseen part of the population could hold, worst end first."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.alignment.mean_tests.mean_test import MeanTest
from feasible_jax.alignment.mean_tests.sample import Sample, clipped, decided, read_sample

# Enough for statistics of 5 and more: 17 at most were needed in trials.
_STEPS = 25


def gaffke_test(worst: float | None = None, tail_index: float = 2.0) -> MeanTest:
    """Gaffke's test of a mean, with one witness for the harm that the batch did not show.

    ``n`` independent numbers cut their population into ``n + 1`` intervals, whose shares ``D`` are
    distributed as ``Dirichlet(1, ..., 1)`` whatever the population is. Put each share at the upper
    end of its interval, the last one, beyond the worst change seen, at a witness ``z_{n+1}``; then

    ``p = P(sum_i D_i z_i >= 0)``, ``z = (changes, witness)``.

    The probability is not simulated: it is that of a weighted sum of exponential variables, by a
    saddlepoint approximation. For harm of one size and improvements of one size it is the p-value
    of the exact binomial test (Clopper and Pearson 1934).

    With ``worst``, no change can exceed it and the witness stands there: no population with such
    changes is known for which the level is exceeded, at any ``n``; that there is none is proved for
    two-valued changes and conjectured otherwise (Gaffke 2005; Learned-Miller and Thomas 2019).
    Changes above ``worst`` are clipped, and the certificate then speaks of ``min(change, worst)``.

    Without it the witness stands ``1 / (1 - min(h, 1 / tail_index))`` times as far above the mean
    of the batch as the worst change does: there is the mean of a tail ``size^(-1/h)`` beyond it.
    ``h`` is Hill's estimate (1975) from the ``sqrt(n)`` worst changes, 0 for harm of one size, and
    ``tail_index`` the heaviest tail that is believed in: at 2, the default, a mean just has a
    standard error; 3 is less cautious, ``inf`` trusts that the worst has been seen. If the third
    moment is finite the level is held up to terms of order ``1 / n``, with room to spare: the
    witness moves the statistic by at least ``max(standardised) / sqrt(n)``, and what the skewness
    takes is half of ``skewness / sqrt(n)``, and skewness is never more than ``max(standardised)``.

    It is not held at every ``n``. Harm confined to a share ``q`` of the population is absent from a
    batch with probability ``(1 - q)^n``, and every test that certifies such batches, not knowing
    ``worst``, errs as often. Here they get ``p >= 2^(1 - n)``, the probability of so one-sided a
    batch where changes are symmetric. With few examples and a low level the tail is guesswork: on
    144 populations of changes of a CNN on Fashion-MNIST, by updates whole or through
    ``coordinatewise()``, at the boundary, a nominal 5% was 7% on average with 64 examples, and up
    to 40%; with 256, 3% on average, and up to 26.1%; with 1024 up to 7.4%. A nominal 1% was 4.2% on
    average with 64, and up to 35%; with 256, 1.2%, and up to 17.1%; with 1024 up to 4.7%.

    Of a share ``f`` of a population, drawn without replacement, ``z`` are drawn towards the mean by
    ``sqrt(1 - f)``.

    Args:
      worst: the largest change that is possible, if that is known.
      tail_index: above 1, the least index of a tail to be prepared for; of no effect with
        ``worst``.

    Returns:
      A ``MeanTest`` named ``"gaffke"``. Where ``worst`` is given, equal changes are no certainty:
      ``p`` is then the probability that harm of that size stays unseen.

    Raises:
      ValueError: for a ``worst`` that is not above 0 and finite, or a ``tail_index`` up to 1.

    N. Gaffke (2005), "Three test statistics for a nonparametric one-sided hypothesis on the mean of
    a nonnegative variable"; E. Learned-Miller and P. S. Thomas (2019), "A new confidence interval
    for the mean of a bounded random variable", arXiv:1905.06208.

    >>> import jax.numpy as jnp
    >>> rarely_harmed = jnp.array([-3.0] * 60 + [20.0] * 4)
    >>> round(float(gaffke_test().p_value(rarely_harmed, None, None)), 2)
    0.07
    >>> round(float(gaffke_test(worst=40.0).p_value(rarely_harmed, None, None)), 2)
    0.15
    """
    if worst is not None and not 0 < worst < float("inf"):
        raise ValueError(f"worst={worst}: the largest possible change is above 0 and finite.")
    if not tail_index > 1:
        raise ValueError(f"tail_index={tail_index}: above 1, or the tail has no mean.")

    def p_value(changes: jax.Array, weights: jax.Array | None, population_size: Any) -> jax.Array:
        if worst is None:
            sample = read_sample(changes, weights, population_size)
            p = _upper_tail(sample, _witness(sample, tail_index))
            return decided(sample, jnp.maximum(p, jnp.exp2(1 - sample.count)))
        sample = read_sample(clipped(changes, worst), weights, population_size)
        p = _upper_tail(sample, worst / sample.scale)
        return decided(sample, p, equality_is_certain=False)

    return MeanTest("gaffke", p_value)


def _witness(sample: Sample, tail_index: float) -> jax.Array:
    above = jnp.append(jnp.where(sample.weights > 0, sample.values - sample.mean, 0), 0)
    most = math.isqrt(above.size)
    worst = jax.lax.top_k(above, min(most + 1, above.size))[0]
    # Harm far below the worst is none of its tail, and what is left of rounding least of all.
    in_tail = worst > 1e-5 * worst[0]
    log = jnp.log(jnp.where(in_tail, worst, 1))
    wanted = jnp.floor(jnp.sqrt(sample.count + 0.5)).astype(jnp.int32)
    tail = jnp.minimum(wanted, jnp.sum(in_tail, dtype=jnp.int32) - 1)
    excess = jnp.where(
        jnp.arange(log.size, dtype=jnp.int32) < tail, log - log[jnp.maximum(tail, 0)], 0
    )
    hill = jnp.sum(excess) / jnp.maximum(tail, 1).astype(log.dtype)
    hill = jnp.where(tail > 0, jnp.minimum(hill, 1 / tail_index), 1 / tail_index)
    return sample.mean + worst[0] / (1 - hill)


def _upper_tail(sample: Sample, witness: jax.Array) -> jax.Array:
    pull = jnp.sqrt(1 - sample.fraction)
    z = sample.mean + pull * (jnp.append(sample.values, witness) - sample.mean)
    weights = jnp.append(sample.weights, jnp.ones_like(sample.weights, shape=(1,)))
    return exponential_sum_tail(z, weights)


def exponential_sum_tail(z: jax.Array, weights: jax.Array) -> jax.Array:
    """``P(sum_i z_i E_i >= 0)`` for independent standard exponential variables ``E_i``.

    Saddlepoint approximation: with ``K(s) = -sum log(1 - s z_i)``, ``K'(s) = 0``,
    ``r = sign(s) sqrt(-2 K(s))`` and ``u = s sqrt(K''(s))``, it is ``Phi(-r - log(u / r) / r)``.
    The saddlepoint is found by Newton's method, damped as for any self-concordant function; where
    that has not converged, far out in the tail, the answer is Chernoff's bound ``exp(K(s))``, which
    holds at every ``s > 0``.

    Args:
      z: ``(n,)``.
      weights: ``(n,)``, 0 where a term is left out and 1 elsewhere.

    Returns:
      A scalar, within a few percent of itself.

    O. E. Barndorff-Nielsen (1986), "Inference on full or partial parameters based on the
    standardized signed log likelihood ratio", Biometrika 73.

    >>> import jax.numpy as jnp
    >>> round(float(exponential_sum_tail(jnp.array([-1.0, 1.0]), jnp.ones(2))), 3)
    0.5
    >>> round(float(exponential_sum_tail(jnp.array([-3.0, 1.0]), jnp.ones(2))), 2)
    0.25
    """
    z = jnp.where(weights > 0, z, 0)
    z = z / jnp.maximum(jnp.max(jnp.abs(z)), jnp.finfo(z.dtype).tiny)
    # A term of the other sign that is this small changes no digit of the answer.
    low, high = jnp.min(z), jnp.max(z)
    two_sided = (low < -1e-30) & (high > 1e-30)
    z = jnp.where(two_sided, z, 0)

    def ratios(s):
        q = z / (1 - s * z)
        return q, jnp.sum(q), jnp.maximum(jnp.sum(q * q), jnp.finfo(z.dtype).tiny)

    def newton(_, s):
        _, slope, curvature = ratios(s)
        decrement = jnp.abs(slope) / jnp.sqrt(curvature)
        return s - slope / curvature / jnp.where(decrement > 0.25, 1 + decrement, 1)

    s = jax.lax.fori_loop(0, _STEPS, newton, jnp.zeros((), z.dtype))
    q, slope, curvature = ratios(s)
    exponent = jnp.minimum(-jnp.sum(jnp.log1p(-s * z)), 0)
    r, u = jnp.sign(s) * jnp.sqrt(-2 * exponent), s * jnp.sqrt(curvature)
    skewness = 2 * jnp.sum(q**3) / curvature**1.5
    kurtosis = 6 * jnp.sum(q**4) / curvature**2
    # log(u / r) / r where r is too small for its digits: by its Taylor series at u = 0.
    near = skewness / 6 + u * (skewness**2 / 18 - kurtosis / 24)
    small = jnp.abs(r) < 0.1
    far = jnp.log(jnp.where(small, 1, u / jnp.where(small, 1, r))) / jnp.where(small, 1, r)
    p = jax.scipy.special.ndtr(-r - jnp.where(small, near, far))
    converged = jnp.abs(slope) < 0.01 * jnp.sqrt(curvature)
    p = jnp.where(converged, p, jnp.where(s > 0, jnp.exp(exponent), 1))
    return jnp.where(two_sided, p, jnp.where(high > 1e-30, 1, 0).astype(p.dtype))
