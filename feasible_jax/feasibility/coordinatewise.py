"""The default rule: each coordinate by itself."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from feasible_jax.alignment import DECREASE, aligned, critical_value_at
from feasible_jax.feasibility.constraints import Constraint
from feasible_jax.feasibility.curvature import (
    Curvature,
    check_curvature,
    curvature_rate,
    fisher,
    init_curvature,
)
from feasible_jax.feasibility.multiplicity import MULTIPLICITY, adjusted_level
from feasible_jax.feasibility.rule import (
    Proposal,
    Rule,
    Selection,
    Tests,
    all_of,
    check_decay,
)


def coordinatewise(
    curvature: Curvature = None,
    multiplicity: str = "none",
    soft: bool = False,
    evidence_decay: float = 0.0,
) -> Rule:
    """Keep the coordinates whose every constraint's one-sided test rejects misalignment.

    Coordinate ``i`` of an update ``Delta`` passes constraint ``k`` iff
    ``-sigma_k sgn(Delta_i) mean_{k,i} >= c sqrt(variance_{k,i} / B_k)``, with ``sigma = +1`` for an
    objective that must not increase and ``-1`` for one that must not decrease, and ``c`` the
    critical value at the confidence asked for. Zero gradients are neutral and pass; see
    ``alignment.aligned`` for every special case. The rule of Dine, Furon and Faure (2025,
    arXiv 2511.02435).

    With a ``curvature`` price the test asks whether the finite step, not only its direction,
    probably lowers an objective that must not increase:
    ``mean_i Delta_i + rho/2 Delta_i^2 F_i + c |Delta_i| SE_i <= 0``, ``F_i = mean_i^2 +
    variance_i`` the diagonal of the empirical Fisher information, which the moments hold already.

    The test speaks of one coordinate and of the batch it sees: a whole update of thousands of
    coordinates chosen on one batch satisfies the constraint less often than the confidence says,
    because choosing and testing on the same data selects lucky coordinates. ``certify_updates``
    tests the whole update on data of its own.

    Args:
      curvature: the price's rate ``rho``, at least 0; ``"adaptive"`` to learn it from the run as a
        trust region does, see ``curvature.curvature_rate``; None for no price.
      multiplicity: ``"none"``, or which error of all coordinates that are tested the confidence
        bounds: ``"bonferroni"`` the chance that a false one is kept, ``"benjamini_hochberg"`` the
        expected share of false ones among those kept. Neutral coordinates are not tested, and few
        examples may have been seen: they are no part of either. Where they are all that passes, as
        with thousands of coordinates and few examples, a few examples carry what the update does,
        and a certificate errs more often than it says.
      soft: shrink each coordinate by how sure its alignment is, instead of keeping or dropping it:
        by the lower confidence bound of its progress over the progress itself; with a curvature
        price, to the step that lowers the priced bound the most, at most the whole.
      evidence_decay: average the evidence over time, each batch weighing this much less at each
        later step, in [0, 1); 0 tests on the last batch alone.

    Returns:
      A ``Rule`` for ``feasible_updates(rule=...)``.

    Raises:
      ValueError: for an argument out of range.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.feasibility import feasible_updates
    >>> tx = feasible_updates(decrease=("retain",), rule=coordinatewise())
    >>> state = tx.init(jnp.zeros(2))
    >>> retain = jnp.array([[1.0, 1.0], [1.2, -1.0], [0.9, 0.5]])
    >>> updates, state = tx.update(jnp.array([-0.1, -0.1]), state, retain=retain)
    >>> [round(u, 2) for u in updates.tolist()]
    [-0.1, 0.0]
    """
    check_curvature(curvature)
    check_decay(evidence_decay)
    if multiplicity not in MULTIPLICITY:
        known = ", ".join(map(repr, MULTIPLICITY))
        raise ValueError(f"multiplicity={multiplicity!r}: choose one of {known}.")

    def select(proposal: Proposal, state: Any) -> tuple[Selection, Any]:
        rate, state = curvature_rate(curvature, proposal, state)
        asked = [_ask(proposal, c, rate, soft) for c in proposal.constraints]
        statistics = _statistics(asked)
        levels, critical = _levels(proposal, statistics, multiplicity)
        passes = {
            c.name: _aligned(these, at)
            for c, these, at in zip(proposal.constraints, asked, critical, strict=True)
        }
        keep = all_of(passes)
        if soft:
            parts = [_parts(these, at) for these, at in zip(asked, critical, strict=True)]
            keep = tuple(
                jnp.where(k, _least(at), jnp.zeros_like(at[0]))
                for k, *at in zip(keep, *parts, strict=True)
            )
        tests = tuple(map(Tests, statistics, levels))
        return Selection(keep, passes, tests=tests), state

    return Rule(
        _name(curvature, multiplicity, soft),
        "moments",
        init_curvature(curvature),
        select,
        evidence_decay,
    )


class _Leaf(NamedTuple):
    """What one constraint knows of one leaf."""

    update: jax.Array
    mean: jax.Array
    variance: jax.Array
    price: jax.Array
    charged: jax.Array  # what the test charges of the price


class _Asked(NamedTuple):
    """What is asked of one constraint."""

    leaves: tuple[_Leaf, ...]
    count: jax.Array
    sign: float


def _ask(proposal: Proposal, constraint: Constraint, rate: Any, soft: bool) -> _Asked:
    evidence = proposal.evidence[constraint.name]
    priced = constraint.sign == DECREASE and not (isinstance(rate, float) and rate == 0)
    leaves = []
    for u, m, v, f in zip(
        proposal.updates, evidence.mean, evidence.variance, fisher(evidence), strict=True
    ):
        price = jnp.zeros((), f.dtype)
        if priced:
            price = jnp.asarray(0.5 * rate, f.dtype) * jnp.abs(u).astype(f.dtype) * f
        # What may be shortened pays by its length: it need not be worth the whole step.
        leaves.append(_Leaf(u, m, v, price, jnp.zeros_like(price) if soft else price))
    return _Asked(tuple(leaves), evidence.count, constraint.sign)


def _aligned(asked: _Asked, critical: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(
        aligned(a.update, a.mean, a.variance, asked.count, asked.sign, critical, a.charged)
        for a in asked.leaves
    )


def _statistics(asked: list[_Asked]) -> list[tuple[jax.Array, ...]]:
    """Of each constraint the statistics of its tests; NaN for what is not tested.

    That is what does not move or is neutral; and what cannot pass one of the constraints, for what
    is not finite, say, may have the largest of statistics.
    """
    possible = [[_possible(leaf, a) for leaf in a.leaves] for a in asked]
    everywhere = [functools.reduce(jnp.logical_and, each) for each in zip(*possible, strict=True)]
    return [
        tuple(
            jnp.where(can, _statistic(leaf, a), jnp.nan)
            for can, leaf in zip(everywhere, a.leaves, strict=True)
        )
        for a in asked
    ]


def _possible(leaf: _Leaf, asked: _Asked) -> jax.Array:
    least = jnp.zeros(()), -jnp.inf
    can = aligned(leaf.update, leaf.mean, leaf.variance, asked.count, asked.sign, *least)
    return can & (leaf.update != 0)


def _statistic(leaf: _Leaf, asked: _Asked) -> jax.Array:
    progress = _progress(leaf.update, leaf.mean, asked.sign)
    return (progress - leaf.charged) / _error(leaf.variance, asked.count)


def _levels(
    proposal: Proposal, statistics: list[tuple[jax.Array, ...]], multiplicity: str
) -> tuple[list[jax.Array], list[jax.Array]]:
    """At which level each constraint tests, and what is critical there."""
    names = [c.name for c in proposal.constraints]
    levels = [proposal.level[name] for name in names]
    if multiplicity == "none":
        return levels, [proposal.critical[name] for name in names]
    counts = [proposal.evidence[name].count for name in names]
    level = functools.reduce(jnp.minimum, levels)
    level = adjusted_level(multiplicity, statistics, proposal.test, level, counts)
    return [level] * len(names), [critical_value_at(proposal.test, level, n) for n in counts]


def _parts(asked: _Asked, critical: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(_part(leaf, asked, critical) for leaf in asked.leaves)


def _part(leaf: _Leaf, asked: _Asked, critical: jax.Array) -> jax.Array:
    """How much of a coordinate to keep, in [0, 1]; 1 where it is neutral."""
    progress = _progress(leaf.update, leaf.mean, asked.sign)
    error = _error(leaf.variance, asked.count)
    sure = jnp.maximum(progress - critical.astype(error.dtype) * error, 0)
    # The bound ``sure |s Delta| - price |Delta| s^2`` is greatest at half their ratio.
    whole = jnp.where(leaf.price > 0, 2 * leaf.price, progress)
    part = jnp.where(whole > sure, sure / jnp.where(whole > 0, whole, 1), 1)
    return jnp.where((leaf.mean == 0) & (leaf.variance == 0), 1, part)


def _progress(update, mean, sign) -> jax.Array:
    return -sign * jnp.sign(update).astype(mean.dtype) * mean


def _error(variance, count) -> jax.Array:
    return jnp.sqrt(variance) / jnp.sqrt(jnp.asarray(count).astype(variance.dtype))


def _least(parts: list[jax.Array]) -> jax.Array:
    least, *others = parts
    for part in others:
        least = jnp.minimum(least, part)
    return least


def _name(curvature: Curvature, multiplicity: str, soft: bool) -> str:
    words = ["soft coordinatewise" if soft else "coordinatewise"]
    if curvature is not None:
        words.append(f"curvature {curvature}")
    if multiplicity != "none":
        words.append(multiplicity.replace("_", "-"))
    return ", ".join(words)
