"""How the variance of each parameter is to be obtained, decided before anything is computed."""

from typing import NamedTuple

from feasible_jax.moments.structured.gradients import (
    is_outer_product,
    is_row_lookup,
    stacked_steps,
)
from feasible_jax.moments.structured.paths import fans_out
from feasible_jax.moments.structured.plan import Plan, Use
from feasible_jax.moments.structured.sums import held_bytes, held_in_all_bytes, tiny_bytes


class Ways(NamedTuple):
    """The way of every parameter, by its number.

    Attributes:
      closed: parameters whose one use gives sums in closed form, by the use's number.
      stacked: parameters so small that the gradients of all examples are held at once.
      joint: groups of parameters whose per-example gradients are made a few examples at a time
        from what the uses left behind.
      left_over: parameters that need a pass of their own, and why.
      unused: parameters that the loss does not depend on.
      uses: the uses of each parameter.
    """

    closed: dict[int, list[int]]
    stacked: list[int]
    joint: list[list[int]]
    left_over: dict[int, str]
    unused: list[int]
    uses: dict[int, list[Use]]

    def uses_of(self, params: list[int]) -> list[Use]:
        """The uses of several parameters, each once."""
        return list({use.number: use for i in params for use in self.uses[i]}.values())


def choose_ways(plan: Plan, size: int) -> Ways:
    """Sort the parameters of a plan by how they are used, for a batch of ``size`` examples.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.moments.structured.plan import make_plan
    >>> from feasible_jax.moments.structured.program import trace_program
    >>> loss = lambda p, x: jnp.sum(p["tied"].T @ jnp.tanh(p["tied"] @ (p["w"] @ x + p["b"])))
    >>> params = {"b": jnp.ones(3), "tied": jnp.ones((2000, 3)), "w": jnp.ones((3, 2000))}
    >>> ways = choose_ways(make_plan(trace_program(loss, params, jnp.ones((256, 2000)))), 256)
    >>> ways.stacked, ways.joint, ways.closed
    ([0], [[1]], {0: [2]})
    """
    uses: dict[int, list[Use]] = {}
    for use in plan.uses:
        for param in plan.reaches[use.top]:
            uses.setdefault(param, []).append(use)
    closed: dict[int, list[int]] = {}
    stacked, shared, unused = [], [], []
    room = held_in_all_bytes()
    for param in range(plan.program.num_params):
        here = uses.get(param, [])
        if param in plan.left_over:
            continue
        if not here:
            unused.append(param)
            continue
        held = 4 * size * group_entries(plan, [param], here)
        if _is_lifted(plan, param, here) or held <= min(room, _allowed(here)):
            stacked.append(param)
            room -= held
        elif len(here) == 1 and reaches_once(plan, here[0], param):
            closed.setdefault(here[0].number, []).append(param)
        else:
            shared.append(param)
    return Ways(closed, stacked, _groups(shared, uses), dict(plan.left_over), unused, uses)


def reaches_once(plan: Plan, use: Use, param: int) -> bool:
    """Whether each entry of a parameter reaches at most one entry of what is used."""
    avals = plan.program.avals
    steps = (op for level in use.levels for op in level.chain)
    within = not any(fans_out(op, plan.weights_of(op), avals) for op in steps)
    return within and plan.reaches[use.top][param]


def group_entries(plan: Plan, params: list[int], uses: list[Use]) -> int:
    """How many numbers one example's gradients of a group have, where they are most."""
    avals, inputs = plan.program.avals, plan.program.scope.inputs
    return max(sum(avals[inputs[i]].size for i in params), sum(avals[u.top].size for u in uses))


def _is_lifted(plan: Plan, param: int, uses: list[Use]) -> bool:
    """Whether the program holds a copy for every example already."""
    avals = plan.program.avals
    entries = avals[plan.program.scope.inputs[param]].size
    lifted = all(use.rule is None for use in uses)
    return lifted and entries <= sum(avals[use.operand].size * stacked_steps(use) for use in uses)


def _allowed(uses: list[Use]) -> int:
    """Bytes that the gradients of all examples may take to be held at once."""
    if len(uses) == 1 and is_row_lookup(uses[0]):
        return 0
    # Squares of outer products are cheaper than holding gradients, unless those are tiny.
    return tiny_bytes() if all(map(is_outer_product, uses)) else held_bytes()


def _groups(shared: list[int], uses: dict[int, list[Use]]) -> list[list[int]]:
    """Parameters that have a use in common, together."""
    groups: list[tuple[list[int], set[int]]] = []
    for param in shared:
        params, here = [param], {use.number for use in uses[param]}
        for group in [g for g in groups if here & g[1]]:
            groups.remove(group)
            params, here = group[0] + params, group[1] | here
        groups.append((params, here))
    return [params for params, _ in groups]
