"""How the variance of each parameter is to be obtained, decided before anything is computed."""

from typing import NamedTuple

from feasible_jax.moments.structured.paths import fans_out
from feasible_jax.moments.structured.plan import Plan, Use


class Ways(NamedTuple):
    """The way of every parameter, by its number.

    Attributes:
      closed: parameters whose one use gives sums in closed form, by the use's number.
      joint: groups of parameters whose per-example gradients are made a few examples at a time
        from what the uses left behind, with the uses of each group.
      left_over: parameters that need a pass of their own, and why.
      unused: parameters that the loss does not depend on.
    """

    closed: dict[int, list[int]]
    joint: list[tuple[list[int], list[Use]]]
    left_over: dict[int, str]
    unused: list[int]


def choose_ways(plan: Plan) -> Ways:
    """Sort the parameters of a plan by how they are used.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.moments.structured.plan import make_plan
    >>> from feasible_jax.moments.structured.program import trace_program
    >>> loss = lambda p, x: jnp.sum(p["tied"].T @ jnp.tanh(p["tied"] @ (p["w"] @ x)))
    >>> params = {"tied": jnp.ones((2, 3)), "w": jnp.ones((3, 3))}
    >>> ways = choose_ways(make_plan(trace_program(loss, params, jnp.ones((5, 3)))))
    >>> ways.closed, [params for params, _ in ways.joint]
    ({0: [1]}, [[0]])
    """
    uses_of: dict[int, list[Use]] = {}
    for use in plan.uses:
        for param in plan.reaches[use.top]:
            uses_of.setdefault(param, []).append(use)
    closed: dict[int, list[int]] = {}
    shared: dict[int, list[Use]] = {}
    unused = []
    for param in range(plan.program.num_params):
        uses = uses_of.get(param, [])
        if param in plan.left_over:
            continue
        if not uses:
            unused.append(param)
        elif len(uses) == 1 and reaches_once(plan, uses[0], param):
            closed.setdefault(uses[0].number, []).append(param)
        else:
            shared[param] = uses
    return Ways(closed, _groups(shared), dict(plan.left_over), unused)


def reaches_once(plan: Plan, use: Use, param: int) -> bool:
    """Whether each entry of a parameter reaches at most one entry of what is used."""
    avals = plan.program.avals
    within = not any(fans_out(op, plan.weights_of(op), avals) for level in use.levels for op in level.chain)
    return within and plan.reaches[use.top][param]


def _groups(shared: dict[int, list[Use]]) -> list[tuple[list[int], list[Use]]]:
    """Parameters that have a use in common, together."""
    groups: list[tuple[list[int], dict[int, Use]]] = []
    for param, uses in shared.items():
        params, here = [param], {use.number: use for use in uses}
        for group in [g for g in groups if here.keys() & g[1].keys()]:
            groups.remove(group)
            params, here = group[0] + params, group[1] | here
        groups.append((params, here))
    return [(params, list(here.values())) for params, here in groups]
