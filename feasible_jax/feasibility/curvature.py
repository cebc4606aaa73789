"""What curvature charges for a finite step, and how its rate is learnt from the run itself."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from feasible_jax.alignment import DECREASE
from feasible_jax.feasibility.evidence import is_hole, leaf_paths
from feasible_jax.feasibility.rule import Evidence, Proposal, Selection, selected
from feasible_jax.moments.precision import accumulation_dtype

Curvature = float | str | None

# The rate before anything was learnt, and how fast old observations of it fade.
_START, _DECAY = 1000.0, 0.9
_LEAST, _MOST = 1.0, 1e7


class CurvatureState(NamedTuple):
    """What is known of how much faster the loss rises than its slopes say.

    Attributes:
      rate: the rate in use, a scalar.
      rise: decayed sum of observed rises of the slope along the steps taken.
      priced: decayed sum of the rises that a rate of 1 would have priced.
      params: the parameters before the last step, one array a leaf.
      slope: the slope that the last step was chosen for.
      price: what a rate of 1 priced the last step at.
      length: its squared length; 0 before the first.
    """

    rate: jax.Array
    rise: jax.Array
    priced: jax.Array
    params: tuple[jax.Array, ...]
    slope: jax.Array
    price: jax.Array
    length: jax.Array


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
        return CurvatureState(jnp.float32(_START), zero, zero, leaves, zero, zero, zero)

    return init


def curvature_rate(curvature: Curvature, proposal: Proposal, state: Any) -> tuple[Any, Any]:
    """The rate to charge at this step, and the state after looking at the last one.

    An adaptive rate is the one that would have priced the steps so far rightly, as a trust region
    compares observed with predicted change: the slope of the retain loss along the last step, on a
    batch that did not choose it, less the slope that it was chosen for, over what a rate of 1
    priced, both summed with decay. It covers what a diagonal cannot see: coordinates that move
    together, and slopes that were chosen for their luck.
    """
    if curvature is None:
        return 0.0, state
    if curvature != "adaptive":
        return curvature, state
    if proposal.params is None:
        raise TypeError("curvature='adaptive' follows the parameters: pass params to update().")
    moved = [
        new.astype(accumulation_dtype(new)) - old.astype(accumulation_dtype(old))
        for new, old in zip(proposal.params, state.params, strict=True)
    ]
    # Whoever comes after may have shrunk the step.
    part = jnp.sqrt(_dot(moved, moved) / jnp.where(state.length > 0, state.length, 1))
    observed = sum(
        (c.sign * _dot(proposal.fresh[c.name].mean, moved) for c in _priced(proposal)),
        jnp.float32(0),
    )
    rise = _DECAY * state.rise + observed - part * state.slope
    priced = _DECAY * state.priced + part * part * state.price
    learnt = (state.length > 0) & (part > 0) & jnp.isfinite(rise) & jnp.isfinite(priced)
    rate = jnp.clip(rise / jnp.where(priced > 0, priced, 1), _LEAST, _MOST)
    return jnp.where(learnt & (priced > 0), rate, state.rate), state._replace(
        rate=jnp.where(learnt & (priced > 0), rate, state.rate),
        rise=jnp.where(learnt, rise, state.rise),
        priced=jnp.where(learnt, priced, state.priced),
    )


def remember_step(
    curvature: Curvature, proposal: Proposal, selection: Selection, state: Any
) -> Any:
    """The state that knows what step was chosen, and for which slope and price."""
    if curvature != "adaptive":
        return state
    step = selected(selection, proposal.updates)
    slope = price = jnp.float32(0)
    for c in _priced(proposal):
        evidence = proposal.evidence[c.name]
        slope = slope + c.sign * _dot(evidence.mean, step)
        squares = [s.astype(f.dtype) ** 2 for s, f in zip(step, fisher(evidence), strict=True)]
        price = price + _dot(squares, fisher(evidence))
    return state._replace(
        params=tuple(
            new.astype(old.dtype) for new, old in zip(proposal.params, state.params, strict=True)
        ),
        slope=slope.astype(jnp.float32),
        price=price.astype(jnp.float32),
        length=_dot(step, step).astype(jnp.float32),
    )


def fisher(evidence: Evidence) -> tuple[jax.Array, ...]:
    """The diagonal of the empirical Fisher information: ``E[g^2] = mean^2 + variance``."""
    return tuple(m * m + v for m, v in zip(evidence.mean, evidence.variance, strict=True))


def _priced(proposal: Proposal) -> list:
    return [c for c in proposal.constraints if c.sign == DECREASE]


def _dot(a, b) -> jax.Array:
    terms = []
    for x, y in zip(a, b, strict=True):
        dtype = accumulation_dtype(x, y)
        terms.append(jnp.sum(x.astype(dtype) * y.astype(dtype)).astype(jnp.float32))
    return sum(terms, jnp.float32(0))
