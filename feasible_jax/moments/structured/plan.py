"""Where each parameter meets the example, found before anything is computed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

import jax.numpy as jnp

from feasible_jax.moments.structured.paths import (
    fans_out,
    is_elementwise,
    is_structural,
    keeps_values,
)
from feasible_jax.moments.structured.program import Constant, Op, Program, Scope, scan_counts
from feasible_jax.moments.structured.rules import find_rule

# A parameter may get an axis of examples where that is no larger than what the examples need
# anyway; below this many entries it always may.
_SMALL = 4096


class Kind(Enum):
    """What a value depends on: nothing, parameters alone, or the example."""

    CONSTANT = 0
    WEIGHT = 1
    DATA = 2


class Boundary(NamedTuple):
    """How a value enters the body of a scan, a remat or a cond.

    Attributes:
      outer: the value outside.
      mode: ``"same"``; ``"sum"`` where every step of a scan uses it, so that gradients add up;
        ``"stack"`` where each step uses a slice of its own.
      length: steps of the scan.
    """

    outer: int
    mode: str
    length: int


class Level(NamedTuple):
    """One scope on the way from the outermost one to a use.

    Attributes:
      boundary: how the parameter enters the scope.
      source: the value that it enters as.
      chain: the operations on it within the scope, to the next boundary or to the use.
      target: the value that the chain ends in.
    """

    boundary: Boundary
    source: int
    chain: tuple[Op, ...]
    target: int


class Use(NamedTuple):
    """A place where a parameter, or what was made of it, meets the example.

    Attributes:
      number: its place in the plan.
      rule: the closed form of the primitive; None where the value itself gets an axis of examples.
      op: the operation, None without a rule.
      spec: what the rule needs to know about it.
      operand: the value that is used.
      top: the value in the outermost scope that it comes from.
      levels: the scopes below the outermost one, outermost first.
      lengths: steps of the scans around it, outermost first.
      inside: numbers of the operations with bodies around it, outermost first.
    """

    number: int
    rule: Any
    op: Op | None
    spec: Any
    operand: int
    top: int
    levels: tuple[Level, ...]
    lengths: tuple[int, ...]
    inside: tuple[int, ...]

    @property
    def tapped(self) -> int:
        """The value whose gradient is taken: what the operation makes, or the value itself."""
        return self.operand if self.op is None else self.op.outputs[0]


@dataclass
class Plan:
    """What ``make_plan`` found out.

    Attributes:
      program: the program.
      kinds: what each value depends on.
      uses: every use.
      use_of_op: the use that an operation is, by the operation's number.
      use_of_cut: the use that gives a value its axis of examples, by the value's number.
      cuts: for a value that is to have an axis of examples, the value to give it to and the
        operations to repeat from there.
      rewritten: numbers of the operations whose bodies hold uses.
      left_over: why a parameter needs per-example gradients of its own, by its number.
      producers: the operation behind each value made of parameters.
      reaches: for each such value of the outermost scope, the parameters that it depends on; True
        where no entry of the parameter reaches more than one entry of it.
      boundaries: how a value made of parameters enters a body.
      scans: numbers of the scans that parameters enter.
    """

    program: Program
    kinds: dict[int, Kind] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)
    use_of_op: dict[int, Use] = field(default_factory=dict)
    use_of_cut: dict[int, Use] = field(default_factory=dict)
    cuts: dict[int, tuple[int, tuple[Op, ...]]] = field(default_factory=dict)
    rewritten: set[int] = field(default_factory=set)
    left_over: dict[int, str] = field(default_factory=dict)
    producers: dict[int, Op] = field(default_factory=dict)
    reaches: dict[int, dict[int, bool]] = field(default_factory=dict)
    boundaries: dict[int, Boundary] = field(default_factory=dict)
    scans: set[int] = field(default_factory=set)

    def kind(self, atom: Any) -> Kind:
        """What a value or a constant depends on."""
        return Kind.CONSTANT if isinstance(atom, Constant) else self.kinds[atom]

    def weights_of(self, op: Op) -> list[int]:
        """The inputs of an operation that depend on parameters alone."""
        return [atom for atom in op.inputs if self.kind(atom) is Kind.WEIGHT]

    def chain_of(self, value: int) -> tuple[int, tuple[Op, ...]] | None:
        """The structural operations behind a value, back to where it enters its scope."""
        chain: list[Op] = []
        while value in self.producers:
            op = self.producers[value]
            if not is_structural(op, self.program.avals):
                return None
            chain.append(op)
            (value,) = self.weights_of(op)
        return value, tuple(reversed(chain))


def make_plan(program: Program) -> Plan:
    """Find every use of every parameter in a program.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.moments.structured.program import trace_program
    >>> loss = lambda params, x: jnp.sum(params["w"] @ x + params["b"])
    >>> params = {"w": jnp.ones((2, 3)), "b": jnp.ones(2)}
    >>> plan = make_plan(trace_program(loss, params, jnp.ones((5, 3))))
    >>> [use.op.name if use.op else "lifted" for use in plan.uses]
    ['dot_general', 'lifted']
    """
    plan = Plan(program)
    scope = program.scope
    for i, value in enumerate(scope.inputs):
        differentiable = jnp.issubdtype(program.avals[value].dtype, jnp.floating)
        if i >= program.num_params:
            plan.kinds[value] = Kind.DATA
        else:
            plan.kinds[value] = Kind.WEIGHT if differentiable else Kind.CONSTANT
            plan.reaches[value] = {i: True}
    _Walk(plan, (), ()).scope(scope, outputs=scope.outputs[:1])
    return plan


class _Walk:
    """Analyses one scope; bodies are walks of their own."""

    def __init__(self, plan: Plan, lengths: tuple[int, ...], inside: tuple[int, ...]):
        self.plan = plan
        self.lengths = lengths
        self.inside = inside

    def scope(self, scope: Scope, outputs: tuple[Any, ...]) -> None:
        for op in scope.ops:
            self.op(op)
        for atom in outputs:
            if self.plan.kind(atom) is Kind.WEIGHT:
                self.lift(atom, _SMALL, "the result of the loss or of a loop")

    def op(self, op: Op) -> None:
        plan = self.plan
        kinds = {plan.kind(atom) for atom in op.inputs}
        result = Kind.DATA if Kind.DATA in kinds else Kind.CONSTANT
        if Kind.WEIGHT not in kinds or self.blocks_gradient(op):
            self.mark(op, result)
        elif Kind.DATA not in kinds:
            self.mark(op, Kind.WEIGHT)
            self.note_origin(op)
        else:
            self.mark(op, Kind.DATA)
            self.meet(op)

    def blocks_gradient(self, op: Op) -> bool:
        avals = self.plan.program.avals
        return op.name == "stop_gradient" or not any(
            jnp.issubdtype(avals[out].dtype, jnp.inexact) for out in op.outputs
        )

    def mark(self, op: Op, kind: Kind) -> None:
        avals = self.plan.program.avals
        for out in op.outputs:
            floating = jnp.issubdtype(avals[out].dtype, jnp.inexact)
            weight = kind is Kind.WEIGHT
            self.plan.kinds[out] = Kind.CONSTANT if weight and not floating else kind

    def note_origin(self, op: Op) -> None:
        plan = self.plan
        fans = fans_out(op, plan.weights_of(op), plan.program.avals)
        reaches: dict[int, bool] = {}
        for atom in plan.weights_of(op):
            for param, once in plan.reaches.get(atom, {}).items():
                reaches[param] = once and not fans and param not in reaches
        for out in op.outputs:
            plan.producers[out] = op
            if not self.inside:
                plan.reaches[out] = reaches

    def meet(self, op: Op) -> None:
        """A parameter meets the example in this operation."""
        plan = self.plan
        if op.bodies:
            self.control_flow(op)
            return
        rule = find_rule(op, plan)
        if rule is not None and self.add_use(rule, op, rule.operand(op, plan)):
            return
        avals = plan.program.avals
        others = [a for a in (*op.inputs, *op.outputs) if isinstance(a, int)]
        room = max(avals[a].size for a in others if plan.kind(a) is Kind.DATA)
        for atom in plan.weights_of(op):
            self.lift(atom, max(room, _SMALL), f"{op.name!r}, which has no closed form")

    def add_use(self, rule: Any, op: Op | None, operand: int) -> Use | None:
        """Note a use; None where the way from the parameter to it cannot be transposed."""
        plan = self.plan
        levels, value, outside = [], operand, self.inside
        while outside:
            found = plan.chain_of(value)
            if found is None:
                return None
            source, chain = found
            boundary = plan.boundaries[source]
            levels.append(Level(boundary, source, chain, value))
            value, outside = boundary.outer, outside[:-1]
        spec = None if rule is None else rule.make_spec(op, operand, plan.program.avals)
        use = Use(
            len(plan.uses), rule, op, spec, operand, value, tuple(reversed(levels)), self.lengths,
            self.inside,
        )  # fmt: skip
        plan.uses.append(use)
        plan.rewritten.update(self.inside)
        if op is not None:
            plan.use_of_op[op.number] = use
        return use

    def lift(self, value: int, room: int, where: str) -> None:
        """Give a value an axis of examples, or leave its parameters to a pass of their own."""
        plan = self.plan
        if value in plan.cuts:
            return
        cut, chain = self.smallest_before(value)
        known = cut in plan.use_of_cut
        size = plan.program.avals[cut].size
        use = plan.use_of_cut[cut] if known else size <= room and self.add_use(None, None, cut)
        if not use:
            self.leave_over(value, where)
            return
        plan.use_of_cut[cut] = use
        plan.cuts[value] = (cut, chain)

    def smallest_before(self, value: int) -> tuple[int, tuple[Op, ...]]:
        """The smallest value from which cheap operations lead to this one: before a broadcast."""
        plan = self.plan
        avals = plan.program.avals
        best, best_length, here, chain = value, 0, value, []
        while here in plan.producers:
            op = plan.producers[here]
            weights = plan.weights_of(op)
            cheap = is_structural(op, avals) or is_elementwise(op) or keeps_values(op)
            if len(weights) != 1 or not cheap:
                break
            chain.append(op)
            (here,) = weights
            transposable = not self.inside or plan.chain_of(here) is not None
            stuck = self.inside and plan.chain_of(best) is None
            if transposable and (stuck or avals[here].size < avals[best].size):
                best, best_length = here, len(chain)
        return best, tuple(reversed(chain[:best_length]))

    def leave_over(self, value: int, where: str) -> None:
        for param in self.roots(value):
            self.plan.left_over.setdefault(param, where)

    def roots(self, value: int) -> Iterator[int]:
        plan = self.plan
        if value in plan.reaches:
            yield from plan.reaches[value]
        elif value in plan.producers:
            for atom in plan.weights_of(plan.producers[value]):
                yield from self.roots(atom)
        elif value in plan.boundaries:
            yield from self.roots(plan.boundaries[value].outer)

    def control_flow(self, op: Op) -> None:
        inside = (*self.inside, op.number)
        if op.name == "scan":
            self.scan(op, inside)
            return
        operands = op.inputs[1:] if op.name == "cond" else op.inputs
        for body in op.bodies:
            for inner, outer in zip(body.inputs, operands, strict=True):
                self.enter(inner, outer, "same", 1)
            _Walk(self.plan, self.lengths, inside).scope(body, body.outputs)

    def scan(self, op: Op, inside: tuple[int, ...]) -> None:
        plan = self.plan
        (body,) = op.bodies
        plan.scans.add(op.number)
        num_consts, num_carry = scan_counts(op)
        length = op.params["length"]
        for i, (inner, outer) in enumerate(zip(body.inputs, op.inputs, strict=True)):
            if num_consts <= i < num_consts + num_carry:
                if plan.kind(outer) is Kind.WEIGHT:
                    self.lift(outer, _SMALL, "the start of a scan")
                plan.kinds[inner] = Kind.DATA
            else:
                self.enter(inner, outer, "sum" if i < num_consts else "stack", length)
        _Walk(plan, (*self.lengths, length), inside).scope(body, body.outputs)

    def enter(self, inner: int, outer: Any, mode: str, length: int) -> None:
        kind = self.plan.kind(outer)
        self.plan.kinds[inner] = kind
        if kind is Kind.WEIGHT:
            self.plan.boundaries[inner] = Boundary(outer, mode, length)
