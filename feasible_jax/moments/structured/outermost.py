"""From what the outermost scope hands to a use back to the parameters themselves."""

from collections.abc import Callable
from typing import Any

import jax

from feasible_jax.moments.precision import accumulation_dtype
from feasible_jax.moments.structured.paths import keeps_values, pull
from feasible_jax.moments.structured.plan import Plan
from feasible_jax.moments.structured.program import Constant, Op


def back_to_params(
    plan: Plan, top: int, params: list[Any]
) -> tuple[Callable[[jax.Array], dict[int, jax.Array]], bool]:
    """The transpose of what makes a value of the outermost scope out of parameters.

    Args:
      plan: the plan.
      top: the value.
      params: the leaves of the parameters.

    Returns:
      ``(back, unit)``: ``back`` takes a gradient with respect to the value to the gradients with
      respect to each parameter that it depends on; ``unit`` says that it only moves entries.
    """
    found = plan.chain_of(top)
    if found is not None and found[0] in plan.program.scope.inputs:
        source, chain = found
        (param,) = plan.reaches[top]
        shape = params[param].shape
        unit = all(map(keeps_values, chain))
        return lambda grad: {param: pull(chain, source, top, shape, grad)}, unit

    ops = _behind(plan, top)
    inputs = plan.program.scope.inputs

    def make(chosen):
        env = {inputs[i]: value for i, value in enumerate(params)}
        env |= {inputs[i]: value for i, value in chosen.items()}
        for op in ops:
            read = [a.value if isinstance(a, Constant) else env[a] for a in op.inputs]
            env.update(zip(op.outputs, op.bind(*read), strict=True))
        return env[top]

    value, transpose = jax.vjp(make, {i: params[i] for i in plan.reaches[top]})

    def back(grad):
        (grads,) = transpose(grad.astype(value.dtype))
        return {i: g.astype(accumulation_dtype(g)) for i, g in grads.items()}

    return back, False


def _behind(plan: Plan, top: int) -> list[Op]:
    """The operations that a value of the outermost scope comes from, in order."""
    wanted, behind = {top}, []
    for op in reversed(plan.program.scope.ops):
        if wanted.intersection(op.outputs):
            behind.append(op)
            wanted.update(atom for atom in op.inputs if isinstance(atom, int))
    return behind[::-1]
