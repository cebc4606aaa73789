"""The default rule: each coordinate by itself."""

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
      multiplicity: ``"none"``, or which error of all coordinates together the confidence bounds:
        ``"bonferroni"`` the chance of any false one, ``"benjamini_hochberg"`` the expected share of
        false ones among those kept.
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
        tested = {
            c.name: _test(proposal, c, rate, multiplicity, soft) for c in proposal.constraints
        }
        passes = {name: found.passes for name, found in tested.items()}
        keep = all_of(passes)
        if soft:
            parts = [found.parts for found in tested.values()]
            keep = tuple(
                jnp.where(k, _least(at), jnp.zeros_like(at[0]))
                for k, *at in zip(keep, *parts, strict=True)
            )
        return Selection(keep, passes, tests=tuple(found.tests for found in tested.values())), state

    return Rule(
        _name(curvature, multiplicity, soft),
        "moments",
        init_curvature(curvature),
        select,
        evidence_decay,
    )


class _Tested(NamedTuple):
    passes: tuple[jax.Array, ...]
    parts: tuple[jax.Array, ...]
    tests: Tests


def _test(
    proposal: Proposal, constraint: Constraint, rate: Any, multiplicity: str, soft: bool
) -> _Tested:
    evidence, level = proposal.evidence[constraint.name], proposal.level[constraint.name]
    sign, count = constraint.sign, evidence.count
    priced = sign == DECREASE and not (isinstance(rate, float) and rate == 0)
    prices = tuple(
        jnp.asarray(0.5 * rate, f.dtype) * jnp.abs(u).astype(f.dtype) * f
        if priced
        else jnp.zeros((), f.dtype)
        for u, f in zip(proposal.updates, fisher(evidence), strict=True)
    )
    leaves = list(zip(proposal.updates, evidence.mean, evidence.variance, strict=True))
    # What may be shortened pays by its length: it need not be worth the whole step.
    charged = tuple(jnp.zeros_like(price) if soft else price for price in prices)
    priced_leaves = [(*leaf, price) for leaf, price in zip(leaves, charged, strict=True)]
    statistics = tuple(_statistic(u, m, v, count, sign, price) for u, m, v, price in priced_leaves)
    critical = proposal.critical[constraint.name]
    if multiplicity != "none":
        level = adjusted_level(multiplicity, statistics, proposal.test, level, count)
        critical = critical_value_at(proposal.test, level, count)
    passes = tuple(aligned(u, m, v, count, sign, critical, p) for u, m, v, p in priced_leaves)
    parts = ()
    if soft:
        parts = tuple(
            _part(*leaf, count, sign, critical, price)
            for leaf, price in zip(leaves, prices, strict=True)
        )
    return _Tested(passes, parts, Tests(statistics, level))


def _statistic(update, mean, variance, count, sign, price) -> jax.Array:
    """The statistic of the priced test; NaN for what does not move, is neutral, or cannot pass."""
    statistic = (_progress(update, mean, sign) - price) / _error(variance, count)
    # What is not finite, say, may have the largest of statistics.
    possible = aligned(update, mean, variance, count, sign, jnp.zeros(()), -jnp.inf)
    return jnp.where((update != 0) & possible, statistic, jnp.nan)


def _part(update, mean, variance, count, sign, critical, price) -> jax.Array:
    """How much of a coordinate to keep, in [0, 1]; 1 where it is neutral."""
    progress, error = _progress(update, mean, sign), _error(variance, count)
    sure = jnp.maximum(progress - critical.astype(error.dtype) * error, 0)
    # The bound ``sure |s Delta| - price |Delta| s^2`` is greatest at half their ratio.
    whole = jnp.where(price > 0, 2 * price, progress)
    part = jnp.where(whole > sure, sure / jnp.where(whole > 0, whole, 1), 1)
    return jnp.where((mean == 0) & (variance == 0), 1, part)


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
