"""What curvature charges for a finite step, and how its rate is learnt from the run itself."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from feasible_jax.alignment import DECREASE
from feasible_jax.feasibility.evidence import like, scalar, zeros_of
from feasible_jax.feasibility.rule import Evidence, Proposal
from feasible_jax.moments.precision import accumulation_dtype

Curvature = float | str | None

# The rate before anything was learnt, which suits a small CNN, and the range that it stays in: the
# curvature of a model that is fitted well is far more than the gradients it has left would say.
_START, _LEAST, _MOST = 1000.0, 100.0, 1e6
# How fast old observations fade, the standard errors of an interval, the slowest way down.
_DECAY, _WIDTH, _SLOWLY = 0.98, 2.0, 0.99
# How fast the first rate falls while nothing passes.
_FREELY = 0.7


class CurvatureState(NamedTuple):
    """What is known of how the slopes of what must not increase change along the steps.

    Attributes:
      rate: the rate in use, a scalar.
      rise: decayed sum of the observed rises of the slope.
      noise: decayed sum of their squared standard errors.
      priced: decayed sum of the rises that a rate of 1 prices.
      params: the parameters before the last step.
      step: the step before that, a tree like theirs.
      slope: the slope along ``step`` at its end.
      error: its squared standard error.
      steps: number of steps so far.
    """

    rate: jax.Array
    rise: jax.Array
    noise: jax.Array
    priced: jax.Array
    params: Any
    step: Any
    slope: jax.Array
    error: jax.Array
    steps: jax.Array


def check_curvature(curvature: Curvature) -> None:
    """Raise unless this is a rate of curvature."""
    if isinstance(curvature, str):
        good = curvature == "adaptive"
    else:  # under inject_hyperparams it is an array
        good = curvature is None or isinstance(curvature, jax.Array) or curvature >= 0
    if not good:
        raise ValueError(
            f"curvature={curvature!r}: give a number of at least 0, 'adaptive', or None."
        )


def init_curvature(curvature: Curvature) -> Callable[[Any], Any]:
    """``Rule.init`` for a rule that prices curvature."""

    def init(params):
        if not isinstance(curvature, str):
            return ()
        return CurvatureState(
            rate=jnp.float32(_START),
            rise=scalar(),
            noise=scalar(),
            priced=scalar(),
            params=zeros_of(params),  # not their own buffers, which may be donated
            step=zeros_of(params, wide=True),
            slope=scalar(),
            error=scalar(),
            steps=scalar(jnp.int32),
        )

    return init


def curvature_rate(curvature: Curvature, proposal: Proposal, state: Any) -> tuple[Any, Any]:
    """The rate to charge at this step, and the state after looking at the gradients it found.

    An adaptive rate compares observed with predicted change, as a trust region does: along the step
    before last, the slope of what must not increase rose from one batch to the next by ``<step_t-2,
    mean_t - mean_t-1>``, and a rate of 1 prices that at ``sum step_t-2 step_t-1 F``. Neither batch
    chose that step, so that no slope looks good for having been chosen. The rate is the quotient of
    the decayed sums of both, as far as it is known: it stays where it is while that lies within two
    standard errors. Otherwise it moves to the end of that interval, up at once and down by one
    percent a step at most. Being observed, it holds what a diagonal cannot see: coordinates that
    move together.

    The first rate suits a loss in nats. Where gradients are much larger it would let nothing pass,
    and a step that is not taken teaches nothing: until something has been learnt, the rate falls by
    three tenths after each step of which the rule kept nothing.
    """
    if curvature is None:
        return 0.0, state
    if not isinstance(curvature, str):
        return curvature, state
    if proposal.params is None:
        raise TypeError("curvature='adaptive' follows the parameters: pass params to update().")
    before, step = jax.tree.leaves(state.params), jax.tree.leaves(state.step)
    last = tuple(
        new.astype(accumulation_dtype(new)) - old.astype(accumulation_dtype(old))
        for new, old in zip(proposal.params, before, strict=True)
    )
    now, now_error = _slope(proposal, step)
    rise = _DECAY * state.rise + now - state.slope
    noise = _DECAY * _DECAY * state.noise + now_error + state.error
    priced = _DECAY * state.priced + _priced(proposal, step, last)
    sound = (state.steps > 1) & jnp.isfinite(rise) & jnp.isfinite(noise) & jnp.isfinite(priced)
    rise, noise, priced = (
        jnp.where(sound, new, old)
        for new, old in zip(
            (rise, noise, priced), (state.rise, state.noise, state.priced), strict=True
        )
    )
    slope, error = _slope(proposal, last)
    known = priced > 0
    unit = jnp.where(known, priced, 1)
    margin = _WIDTH * jnp.sqrt(noise) / unit
    low, high = rise / unit - margin, rise / unit + margin
    # Up at once, down slowly, and only where curvature was seen at all.
    down = jnp.where(low > 0, jnp.maximum(high, _SLOWLY * state.rate), state.rate)
    least = jnp.minimum(_LEAST, state.rate)
    rate = jnp.clip(jnp.maximum(jnp.minimum(state.rate, down), low), least, _MOST)
    refused = (state.steps > 0) & (proposal.kept == 0)
    rate = jnp.where(sound & known, rate, jnp.where(refused, _FREELY, 1) * state.rate)
    here = [new.astype(old.dtype) for new, old in zip(proposal.params, before, strict=True)]
    after = CurvatureState(
        rate, rise, noise, priced, like(state.params, here), like(state.step, last), slope, error,
        state.steps + 1,
    )  # fmt: skip
    return rate, after


def _slope(proposal: Proposal, step) -> tuple[jax.Array, jax.Array]:
    """The slope along a step of what must not increase, and its squared standard error."""
    slope = error = jnp.float32(0)
    for c in _decreasing(proposal):
        fresh = proposal.fresh[c.name]
        count = jnp.maximum(jnp.asarray(fresh.count, jnp.float32), 1)
        slope = slope + _dot(fresh.mean, step)
        error = error + _dot(fresh.variance, [s * s for s in step]) / count
    return slope, error


def _priced(proposal: Proposal, before, last) -> jax.Array:
    both = [a * b for a, b in zip(before, last, strict=True)]
    prices = [_dot(fisher(proposal.evidence[c.name]), both) for c in _decreasing(proposal)]
    return sum(prices, jnp.float32(0))


def _decreasing(proposal: Proposal) -> list:
    return [c for c in proposal.constraints if c.sign == DECREASE]


def fisher(evidence: Evidence) -> tuple[jax.Array, ...]:
    """The diagonal of the empirical Fisher information: ``E[g^2] = mean^2 + variance``."""
    return tuple(m * m + v for m, v in zip(evidence.mean, evidence.variance, strict=True))


def _dot(a, b) -> jax.Array:
    terms = []
    for x, y in zip(a, b, strict=True):
        dtype = accumulation_dtype(x, y)
        terms.append(jnp.sum(x.astype(dtype) * y.astype(dtype)).astype(jnp.float32))
    return sum(terms, jnp.float32(0))
