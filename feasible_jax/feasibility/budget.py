"""The budget rule: spend a bounded change of utility where it buys the most forgetting."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from feasible_jax.alignment import DECREASE, INCREASE
from feasible_jax.feasibility.curvature import (
    Curvature,
    check_curvature,
    curvature_rate,
    fisher,
    init_curvature,
)
from feasible_jax.feasibility.rule import Proposal, Rule, Selection, check_decay
from feasible_jax.moments.precision import accumulation_dtype

# Passes over a sample of the coordinates, over all of them, and how many coordinates are a sample.
_SAMPLE_PASSES, _PASSES, _SAMPLE = 24, 4, 2**14
# Not worth a sample: fewer than so many coordinates for each in it.
_SMALL = 8
# Multipliers are ``sinh(x) / 8`` times the ratio of progress to cost, ``x`` up to the widest: even
# steps near 0, where nearly everything fits, and even ratios far from it.
_WIDEST, _NEAR = 30.0, 0.125
# How far from a sample's multiplier that of all coordinates is searched for, and tried once more.
_AROUND, _BEYOND = 0.5, 2.0


def budget(
    curvature: Curvature = "adaptive",
    tau: float = 0.0,
    evidence_decay: float = 0.9,
) -> Rule:
    """Keep the coordinates that buy the most forgetting for a bounded change of utility.

    The chance-constrained knapsack: choose a mask ``m`` that maximises the progress ``sum m_i a_i``
    subject, for each objective that must not increase, to
    ``sum m_i (mean_i Delta_i + rho/2 Delta_i^2 F_i) + c sqrt(sum m_i Delta_i^2 variance_i / B) <=
    tau``, ``F_i = mean_i^2 + variance_i``: the upper confidence bound of the finite step's change,
    coordinates taken for uncorrelated. Progress ``a_i`` is that of the objectives that must not
    decrease, ``mean_i Delta_i`` to first order; without one, the update's own, ``Delta_i^2``. The
    relaxation is solved by a multiplier, keep ``i`` iff ``a_i > lambda cost_i``, with what the
    coordinate adds to the bound as its cost, found by bisection in a fixed number of passes; where
    no multiplier meets the budget, nothing is kept.

    One bound on a sum, where ``coordinatewise`` bounds every term: noise averages out over many
    coordinates, so that much more passes. Like every choice it needs a ``certify_updates`` after it
    for a guarantee.

    Args:
      curvature: the rate ``rho`` of the price of a finite step, at least 0; ``"adaptive"`` learns
        it from the run as a trust region does, None leaves it out.
      tau: how much the bound may rise at each step, in units of the loss, at least 0.
      evidence_decay: average the evidence over time, each batch weighing this much less at each
        later step, in [0, 1); 0 decides on the last batch alone.

    Returns:
      A ``Rule`` for ``feasible_updates(rule=...)``; it needs an objective that must not increase.

    Raises:
      ValueError: for an argument out of range; at the first update, if no objective must decrease.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.feasibility import feasible_updates
    >>> tx = feasible_updates(decrease=("retain",), rule=budget(curvature=None, evidence_decay=0))
    >>> retain = jnp.array([[1.0, 0.5, -9.0], [1.2, -0.1, -8.0], [0.9, 0.5, -8.0]])
    >>> updates, state = tx.update(-0.1 * jnp.ones(3), tx.init(jnp.zeros(3)), retain=retain)
    >>> [round(u, 2) for u in updates.tolist()]
    [-0.1, -0.1, 0.0]
    """
    check_curvature(curvature)
    check_decay(evidence_decay)
    if not tau >= 0:
        raise ValueError(f"tau={tau}: give a slack of at least 0, in units of the loss.")

    def select(proposal: Proposal, state: Any) -> tuple[Selection, Any]:
        if all(c.sign != DECREASE for c in proposal.constraints):
            raise ValueError("budget() has nothing to spend: name an objective in decrease=(...).")
        rate, state = curvature_rate(curvature, proposal, state)
        costs = {
            c.name: _cost(proposal, c.name, rate)
            for c in proposal.constraints
            if c.sign == DECREASE
        }
        items = _items(proposal, costs)
        keep = _solve(items, tau)
        passes = {c.name: _passes(proposal, c, items, keep) for c in proposal.constraints}
        selection = Selection(keep, passes)
        return selection, state

    return Rule("budget", "moments", init_curvature(curvature), select, evidence_decay)


class _Cost(NamedTuple):
    """One objective's price of every coordinate, the square of its noise, and what is critical."""

    price: tuple[jax.Array, ...]
    noise: tuple[jax.Array, ...]
    critical: jax.Array


class _Items(NamedTuple):
    """What the knapsack chooses from: progress, total price, and the constraints."""

    progress: tuple[jax.Array, ...]
    price: tuple[jax.Array, ...]
    costs: dict[str, _Cost]


def _cost(proposal: Proposal, name: str, rate: Any) -> _Cost:
    evidence = proposal.evidence[name]
    price, noise = [], []
    for u, m, v, f in zip(
        proposal.updates, evidence.mean, evidence.variance, fisher(evidence), strict=True
    ):
        step = u.astype(f.dtype)
        price.append(m * step + jnp.asarray(0.5 * rate, f.dtype) * step * step * f)
        noise.append(step * step * v)
    count = jnp.asarray(evidence.count, jnp.float32)
    # One observation tells nothing: no budget is met at a critical value that is NaN.
    root = jnp.where((count > 1) & jnp.isfinite(count), jnp.sqrt(count), jnp.nan)
    critical = proposal.critical[name].astype(jnp.float32) / root
    return _Cost(tuple(price), tuple(noise), critical)


def _items(proposal: Proposal, costs: dict[str, _Cost]) -> _Items:
    gains = [c for c in proposal.constraints if c.sign == INCREASE]
    progress, price = [], []
    for i, u in enumerate(proposal.updates):
        dtype = accumulation_dtype(u)
        step = u.astype(dtype)
        terms = [proposal.evidence[c.name].mean[i].astype(dtype) * step for c in gains]
        gain = sum(terms[1:], terms[0]) if terms else step * step
        progress.append(jnp.where(jnp.isfinite(gain), gain, jnp.nan))  # NaN: never kept
        prices = [_marginal(cost, i).astype(dtype) for cost in costs.values()]
        price.append(sum(prices[1:], prices[0]))
    return _Items(tuple(progress), tuple(price), costs)


def _marginal(cost: _Cost, leaf: int) -> jax.Array:
    """What one more coordinate adds to the bound, where all that lower the price are kept."""
    cheap = tuple(price < 0 for price in cost.price)
    spread = jnp.sqrt(_total(cost.noise, cheap))
    slope = cost.critical / (2 * jnp.where(spread > 0, spread, jnp.inf))
    return cost.price[leaf] + slope.astype(cost.price[leaf].dtype) * cost.noise[leaf]


def _solve(items: _Items, tau: float) -> tuple[jax.Array, ...]:
    """The mask of the smallest multiplier that meets the budget."""
    scale = _ratio_of_sums(items)
    # First on a sample, where a pass costs nothing; the budget is met on all coordinates.
    low, high = _bisect(_sample(items), tau, scale, 0.0, _WIDEST, _SAMPLE_PASSES)
    beyond = high + _BEYOND
    if _stride(sum(leaf.size for leaf in items.progress)) > 1:
        low, high = jnp.maximum(low - _AROUND, 0), high + _AROUND
        low, high = _bisect(items, tau, scale, low, high, _PASSES)
    candidates = jnp.stack([jnp.zeros_like(high), high, beyond, jnp.full_like(high, _WIDEST)])
    fits = jnp.stack([_fits(items, tau, _multiplier(scale, c)) for c in candidates])
    keep = _keep(items, _multiplier(scale, candidates[jnp.argmax(fits)]))
    # To keep nothing is better than to lose progress.
    good = jnp.any(fits) & (_total(items.progress, keep) >= 0)
    return tuple(k & good for k in keep)


def _bisect(items: _Items, tau: float, scale, low, high, passes: int):
    """Between two multipliers: budgets are missed at ``low``, met at ``high``."""

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        fits = _fits(items, tau, _multiplier(scale, middle))
        return jnp.where(fits, low, middle), jnp.where(fits, middle, high)

    ends = jnp.asarray(low, jnp.float32), jnp.asarray(high, jnp.float32)
    return jax.lax.fori_loop(0, passes, halve, ends)


def _multiplier(scale: jax.Array, x: Any) -> jax.Array:
    return scale * _NEAR * jnp.sinh(x)


def _keep(items: _Items, multiplier: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(
        (a > multiplier.astype(a.dtype) * p) | ((a == 0) & (p == 0))
        for a, p in zip(items.progress, items.price, strict=True)
    )


def _fits(items: _Items, tau: float, multiplier: jax.Array) -> jax.Array:
    keep = _keep(items, multiplier)
    within = []
    for cost in items.costs.values():
        price, noise = _total(cost.price, keep), _total(cost.noise, keep)
        bound = price + cost.critical * jnp.sqrt(noise)
        within.append(bound <= tau)
    return jnp.all(jnp.stack(within))


def _total(values: tuple[jax.Array, ...], keep: tuple[jax.Array, ...]) -> jax.Array:
    sums = [jnp.sum(jnp.where(k, v, 0)) for k, v in zip(keep, values, strict=True)]
    return sum((s.astype(jnp.float32) for s in sums), jnp.float32(0))


def _ratio_of_sums(items: _Items) -> jax.Array:
    def size(values):
        finite = (jnp.where(jnp.isfinite(v), jnp.abs(v), 0) for v in values)
        return sum((jnp.sum(v).astype(jnp.float32) for v in finite), jnp.float32(0))

    progress, price = size(items.progress), size(items.price)
    return jnp.where(price > 0, progress / jnp.where(price > 0, price, 1), 1)


def _sample(items: _Items) -> _Items:
    """Every k-th coordinate, so that about as many are left as one looks at for nothing."""
    stride = _stride(sum(leaf.size for leaf in items.progress))

    def thin(leaves):
        return tuple(leaf.reshape(-1)[::stride] for leaf in leaves)

    def stand_in(leaves):
        # Sums over the sample stand for sums over all, leaf by leaf.
        pairs = zip(leaves, thin(leaves), strict=True)
        return tuple(few * (leaf.size / max(few.size, 1)) for leaf, few in pairs)

    costs = {
        name: _Cost(stand_in(c.price), stand_in(c.noise), c.critical)
        for name, c in items.costs.items()
    }
    return _Items(thin(items.progress), thin(items.price), costs)


def _stride(total: int) -> int:
    """A prime, which visits all columns of a matrix in turn, unless it divides their number."""
    stride = total // _SAMPLE
    if stride < _SMALL:
        return 1
    while any(stride % i == 0 for i in range(2, int(stride**0.5) + 1)):
        stride += 1
    return stride


def _passes(proposal: Proposal, constraint, items: _Items, keep) -> tuple[jax.Array, ...]:
    """Where a coordinate by itself does not speak against the objective."""
    if constraint.sign == DECREASE:
        return tuple(p <= 0 for p in items.costs[constraint.name].price)
    evidence = proposal.evidence[constraint.name]
    return tuple(
        m * u.astype(m.dtype) >= 0 for m, u in zip(evidence.mean, proposal.updates, strict=True)
    )
