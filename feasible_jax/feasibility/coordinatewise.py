"""The default rule: each coordinate by itself."""

from feasible_jax.alignment import aligned
from feasible_jax.feasibility.rule import Proposal, Rule, Selection, all_of, stateless


def coordinatewise() -> Rule:
    """Keep the coordinates whose every constraint's one-sided test rejects misalignment.

    Coordinate ``i`` of an update ``Delta`` passes constraint ``k`` iff
    ``-sigma_k sgn(Delta_i) mean_{k,i} >= c sqrt(variance_{k,i} / B_k)``, with ``sigma = +1`` for an
    objective that must not increase and ``-1`` for one that must not decrease, and ``c`` the
    critical value at the confidence asked for. Zero gradients are neutral and pass; see
    ``alignment.aligned`` for every special case. The rule of Dine, Furon and Faure (2025,
    arXiv 2511.02435).

    The test speaks of one coordinate and of the batch it sees: a whole update of thousands of
    coordinates chosen on one batch satisfies the constraint less often than the confidence says,
    because choosing and testing on the same data selects lucky coordinates.

    Returns:
      A ``Rule`` for ``feasible_updates(rule=...)``.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.feasibility import feasible_updates
    >>> tx = feasible_updates(decrease=("retain",), rule=coordinatewise())
    >>> state = tx.init(jnp.zeros(2))
    >>> retain = jnp.array([[1.0, 1.0], [1.2, -1.0], [0.9, 0.5]])
    >>> updates, state = tx.update(jnp.array([-0.1, -0.1]), state, retain=retain)
    >>> [round(u, 2) for u in updates.tolist()]
    [-0.1, 0.0]
    """
    return Rule("coordinatewise", "moments", stateless, _select)


def _select(proposal: Proposal, state: tuple) -> tuple[Selection, tuple]:
    passes = {}
    for constraint in proposal.constraints:
        evidence = proposal.evidence[constraint.name]
        critical = proposal.critical[constraint.name]
        passes[constraint.name] = tuple(
            aligned(update, mean, variance, evidence.count, constraint.sign, critical)
            for update, mean, variance in zip(
                proposal.updates, evidence.mean, evidence.variance, strict=True
            )
        )
    return Selection(all_of(passes), passes), state
