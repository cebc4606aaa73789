"""What curvature charges for a finite step, and how its rate is learnt from the run itself."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from feasible_jax.alignment import DECREASE
from feasible_jax.feasibility.evidence import is_hole, leaf_paths
from feasible_jax.feasibility.rule import Evidence, Proposal
from feasible_jax.moments.precision import accumulation_dtype

Curvature = float | str | None

# The rate before anything was learnt, and how fast old observations of it fade.
_START, _DECAY, _GAIN = 1000.0, 0.9, 0.1
_LEAST, _MOST = 1.0, 1e7


class CurvatureState(NamedTuple):
    """What is known of where the steps so far ended.

    Attributes:
      rate: the rate in use, a scalar.
      slope: decayed sum of the slopes of what must not increase, at the ends of the steps so far,
        along them.
      noise: decayed sum of the squared standard errors of these slopes.
      params: the parameters before the last step, one array a leaf.
      known: whether there was a step yet.
    """

    rate: jax.Array
    slope: jax.Array
    noise: jax.Array
    params: tuple[jax.Array, ...]
    known: jax.Array


def check_curvature(curvature: Curvature) -> None:
    """Raise unless this is a rate of curvature."""
    good = curvature is None or curvature == "adaptive"
    if not good and (isinstance(curvature, str) or not curvature >= 0):
        raise ValueError(
            f"curvature={curvature!r}: give a number of at least 0, 'adaptive', or None."
        )


def init_curvature(curvature: Curvature) -> Callable[[Any], Any]:
    """``Rule.init`` for a rule that prices curvature."""

    def init(params):
        if curvature != "adaptive":
            return ()
        zero = jnp.zeros((), jnp.float32)
        leaves = tuple(jnp.asarray(leaf) for _, leaf in leaf_paths(params)[0] if not is_hole(leaf))
        return CurvatureState(jnp.float32(_START), zero, zero, leaves, jnp.zeros((), bool))

    return init


def curvature_rate(curvature: Curvature, proposal: Proposal, state: Any) -> tuple[Any, Any]:
    """The rate to charge at this step, and the state after looking at where the last one ended.

    An adaptive rate is steered, as a trust region is, by the end of the steps so far: there, on a
    batch that did not choose the step, the slope along it of what must not increase shows whether
    the step was too long. It rises where the slope is positive, beyond its noise the faster, and
    falls where it is negative: steps end where they stop doing good. That covers what a diagonal
    cannot see, coordinates that move together and slopes that were chosen for their luck.
    """
    if curvature is None:
        return 0.0, state
    if curvature != "adaptive":
        return curvature, state
    if proposal.params is None:
        raise TypeError("curvature='adaptive' follows the parameters: pass params to update().")
    step = [
        new.astype(accumulation_dtype(new)) - old.astype(accumulation_dtype(old))
        for new, old in zip(proposal.params, state.params, strict=True)
    ]
    slope = noise = jnp.float32(0)
    for c in (c for c in proposal.constraints if c.sign == DECREASE):
        fresh = proposal.fresh[c.name]
        count = jnp.maximum(jnp.asarray(fresh.count, jnp.float32), 1)
        slope = slope + c.sign * _dot(fresh.mean, step)
        noise = noise + _dot(fresh.variance, [s * s for s in step]) / count
    sound = state.known & (noise > 0) & jnp.isfinite(slope) & jnp.isfinite(noise)
    slope = jnp.where(sound, _DECAY * state.slope + slope, state.slope)
    noise = jnp.where(sound, _DECAY * _DECAY * state.noise + noise, state.noise)
    surprise = jnp.clip(slope / jnp.sqrt(jnp.where(noise > 0, noise, 1)), -1, 1)
    rate = jnp.clip(state.rate * jnp.exp(_GAIN * surprise), _LEAST, _MOST)
    rate = jnp.where(sound, rate, state.rate)
    params = tuple(
        new.astype(old.dtype) for new, old in zip(proposal.params, state.params, strict=True)
    )
    return rate, CurvatureState(rate, slope, noise, params, jnp.ones((), bool))


def fisher(evidence: Evidence) -> tuple[jax.Array, ...]:
    """The diagonal of the empirical Fisher information: ``E[g^2] = mean^2 + variance``."""
    return tuple(m * m + v for m, v in zip(evidence.mean, evidence.variance, strict=True))


def _dot(a, b) -> jax.Array:
    terms = []
    for x, y in zip(a, b, strict=True):
        dtype = accumulation_dtype(x, y)
        terms.append(jnp.sum(x.astype(dtype) * y.astype(dtype)).astype(jnp.float32))
    return sum(terms, jnp.float32(0))
