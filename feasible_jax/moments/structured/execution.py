"""Runs a program with a tap at every use: the cotangent of a tap is the gradient there."""

from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.per_example import vary_like
from feasible_jax.moments.structured.plan import Kind, Plan, Use
from feasible_jax.moments.structured.program import Constant, Op, Scope, scan_counts


def tap_shapes(plan: Plan) -> dict[int, jax.ShapeDtypeStruct]:
    """What to add at each use, for one example: zeros of the shape of what comes out of it."""
    avals = plan.program.avals

    def shape(use: Use):
        aval = avals[use.tapped]
        return jax.ShapeDtypeStruct((*use.lengths, *aval.shape), aval.dtype)

    return {use.number: shape(use) for use in plan.uses}


def run(plan: Plan, params: list[Any], example: list[Any], taps: dict[int, Any]) -> tuple[Any, Any]:
    """Run the loss of one example.

    Args:
      plan: where to tap.
      params: the leaves of the parameters.
      example: the leaves of one example.
      taps: zeros, by the number of the use; the loss is differentiated with respect to them.

    Returns:
      ``(outputs, residuals)``: what the loss returns, flat, and what the gradients at each use
      need besides the cotangent of its tap, with a leading axis for every scan around it.
    """
    scope = plan.program.scope
    return _Run(plan, scope, (*params, *example), taps).outputs(lifted=1)


class _Run:
    """Runs one scope; bodies are runs of their own, inside JAX's control flow."""

    def __init__(self, plan: Plan, scope: Scope, inputs: Any, taps: dict[int, Any]):
        self.plan = plan
        self.scope = scope
        self.env = dict(zip(scope.inputs, inputs, strict=True))
        self.lifted: dict[int, Any] = {}
        self.taps = taps
        self.residuals: dict[int, Any] = {}

    def outputs(self, lifted: int) -> tuple[list[Any], dict[int, Any]]:
        """Run, and read the outputs; the first ``lifted`` of them carry a gradient."""
        for op in self.scope.ops:
            values = self.op(op)
            self.env.update(zip(op.outputs, values, strict=True))
        atoms = self.scope.outputs
        reads = [self.read_lifted(atom) for atom in atoms[:lifted]]
        return reads + [self.read(atom) for atom in atoms[lifted:]], self.residuals

    def read(self, atom: Any) -> Any:
        return atom.value if isinstance(atom, Constant) else self.env[atom]

    def read_lifted(self, atom: Any) -> Any:
        """The value with its axis of examples where it has one."""
        if isinstance(atom, Constant) or atom not in self.plan.cuts:
            return self.read(atom)
        cut, chain = self.plan.cuts[atom]
        if cut not in self.lifted:
            tap = self.taps[self.plan.use_of_cut[cut].number]
            self.lifted[cut] = self.env[cut] + tap
        for op in chain:
            if op.outputs[0] not in self.lifted:
                inputs = [self.lifted.get(a, self.env.get(a)) if isinstance(a, int) else a.value
                          for a in op.inputs]  # fmt: skip
                self.lifted.update(zip(op.outputs, op.bind(*inputs), strict=True))
        return self.lifted[atom]

    def op(self, op: Op) -> list[Any]:
        plan = self.plan
        use = plan.use_of_op.get(op.number)
        if use is not None:
            return self.use(op, use)
        if op.number in plan.rewritten:
            return {"scan": self.scan, "cond": self.cond}.get(op.name, self.remat)(op)
        mixed = any(plan.kind(out) is Kind.DATA for out in op.outputs)
        read = self.read_lifted if mixed else self.read
        return op.bind(*map(read, op.inputs))

    def use(self, op: Op, use: Use) -> list[Any]:
        self.residuals[use.number] = tuple(map(self.read, use.rule.residuals(op, use.operand)))
        (value,) = op.bind(*map(self.read, op.inputs))
        return [value + self.taps[use.number]]

    def taps_inside(self, op: Op) -> dict[int, Any]:
        inside = [use.number for use in self.plan.uses if op.number in use.inside]
        return {number: self.taps[number] for number in inside}

    def body(self, scope: Scope, inputs: Any, taps: dict[int, Any]) -> tuple[Any, Any]:
        return _Run(self.plan, scope, inputs, taps).outputs(lifted=len(scope.outputs))

    def scan(self, op: Op) -> list[Any]:
        params = op.params
        first, num_carry = scan_counts(op)
        last = first + num_carry
        consts = tuple(map(self.read, op.inputs[:first]))
        carry = list(map(self.read_lifted, op.inputs[first:last]))
        slices = list(map(self.read, op.inputs[last:]))

        def step(carry, slices_and_taps):
            slices, taps = slices_and_taps
            inputs = (*consts, *carry, *slices)
            outputs, residuals = self.body(op.bodies[0], inputs, taps)
            return outputs[:num_carry], (outputs[num_carry:], residuals)

        carry, (stacks, residuals) = jax.lax.scan(
            step, carry, (slices, self.taps_inside(op)), length=params["length"],
            reverse=params["reverse"], unroll=params["unroll"],
        )  # fmt: skip
        self.residuals.update(residuals)
        return [*carry, *stacks]

    def remat(self, op: Op) -> list[Any]:
        body = jax.checkpoint(
            lambda inputs, taps: self.body(op.bodies[0], inputs, taps),
            prevent_cse=op.params["prevent_cse"], policy=op.params["policy"],
        )  # fmt: skip
        outputs, residuals = body(list(map(self.read, op.inputs)), self.taps_inside(op))
        self.residuals.update(residuals)
        return outputs

    def cond(self, op: Op) -> list[Any]:
        taps = self.taps_inside(op)
        # Varying out here: within a branch JAX promotes what it closes over, a second time.
        empty = vary_like({number: self.no_residuals(number, op) for number in taps}, taps)

        def branch(scope):
            def run_branch(inputs, taps):
                outputs, residuals = self.body(scope, inputs, taps)
                # Where a branch is not taken its uses have no gradient, whatever they hold.
                return outputs, {**empty, **residuals}

            return run_branch

        index, *operands = map(self.read, op.inputs)
        branches = [branch(scope) for scope in op.bodies]
        outputs, residuals = jax.lax.switch(index, branches, operands, taps)
        self.residuals.update(residuals)
        return outputs

    def no_residuals(self, number: int, op: Op) -> tuple[Any, ...]:
        use = self.plan.uses[number]
        if use.op is None:
            return ()
        avals = self.plan.program.avals
        # Lengths of the scans inside this operation: those around it are peeled off already.
        lengths = use.lengths[len(use.lengths) - self.scans_below(use, op) :]

        def zeros(atom):
            if isinstance(atom, Constant):
                return jnp.zeros((*lengths, *jnp.shape(atom.value)), jnp.asarray(atom.value).dtype)
            return jnp.zeros((*lengths, *avals[atom].shape), avals[atom].dtype)

        return tuple(map(zeros, use.rule.residuals(use.op, use.operand)))

    def scans_below(self, use: Use, op: Op) -> int:
        below = use.inside[use.inside.index(op.number) + 1 :]
        return sum(number in self.plan.scans for number in below)
