"""`explain_moments`: how the variance of each parameter is obtained, and what that costs."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from feasible_jax.moments.per_example import check_batch, check_params
from feasible_jax.moments.structured.batch_statistics import refuse_batch_statistics
from feasible_jax.moments.structured.gradients import (
    gradient_entries,
    is_outer_product,
    is_row_lookup,
    stacked_steps,
    summed_steps,
)
from feasible_jax.moments.structured.parts import part_size
from feasible_jax.moments.structured.plan import Plan, Use, make_plan
from feasible_jax.moments.structured.program import trace_program
from feasible_jax.moments.structured.sums import chunk_size
from feasible_jax.moments.structured.ways import Ways, choose_ways, group_entries

_FLOAT = 4  # bytes
# Operations on each number to add it up, square it and merge its chunk with those before.
_MERGE = 6
# Examples that a pass of its own takes at a time.
_PASS_EXAMPLES = 16


class ParameterCost(NamedTuple):
    """One row of ``explain_moments``.

    Attributes:
      name: the path of the parameter.
      shape: its shape.
      how: how its variance is obtained.
      flops: floating point operations for mean and variance, counted from the shapes.
      gradient_flops: the same for its plain gradient.
      bytes_held: bytes of per-example numbers held at once for it, at most.
      gradient_bytes: bytes of its plain gradient.
      advice: what to change where this is costly, or an empty string.
    """

    name: str
    shape: tuple[int, ...]
    how: str
    flops: int
    gradient_flops: int
    bytes_held: int
    gradient_bytes: int
    advice: str


class MomentsExplanation(NamedTuple):
    """What ``explain_moments`` returns; ``print`` it for a table.

    Attributes:
      rows: one ``ParameterCost`` a parameter.
      batch_size: the number of examples that it was made for.
      part_size: how many of them are taken at a time.

    >>> import jax.numpy as jnp
    >>> explanation = explain_moments(lambda w, x: w @ x, jnp.ones(3), jnp.ones((5, 3)))
    >>> explanation.rows[0].how, explanation.batch_size
    ('all gradients at once', 5)
    """

    rows: tuple[ParameterCost, ...]
    batch_size: int
    part_size: int

    def __str__(self) -> str:
        """The table, one line a parameter, and the advice below."""
        head = ("parameter", "shape", "variance from", "FLOPs", "of gradient's", "held", "gradient")
        lines = [head, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        table = [
            "  ".join(
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        table.insert(1, "-" * max(map(len, table)))
        advice = [f"{row.name}: {row.advice}" for row in self.rows if row.advice]
        if self.part_size < self.batch_size:
            advice.insert(0, f"The batch is taken {self.part_size} examples at a time.")
        return "\n".join([*table, *(["", *advice] if advice else [])])


def explain_moments(
    loss_fn: Callable[[Any, Any], Any], params: Any, batch: Any, *, has_aux: bool = False
) -> MomentsExplanation:
    """How ``grad_moments(loss_fn, "structured")`` obtains the variance of each parameter.

    Nothing is computed: the loss of one example is traced, and shapes are counted.

    Args:
      loss_fn: ``(params, example) -> scalar``, the loss of ONE example; where ``has_aux``,
        ``(scalar, aux)``.
      params: the parameters, arrays or their ``jax.ShapeDtypeStruct``.
      batch: a tree with a leading axis of ``B`` examples on every leaf, likewise.
      has_aux: whether the loss returns a pair.

    Returns:
      A ``MomentsExplanation``; print it for a table. FLOPs and bytes are those of the batch, the
      forward and the backward pass through the activations not included, which a plain gradient
      needs as well.

    Raises:
      ValueError: for what ``grad_moments`` refuses; TypeError likewise.

    >>> import jax.numpy as jnp
    >>> loss = lambda p, x: jnp.sum(jnp.tanh(x @ p["dense"]) @ p["head"])
    >>> params = {"dense": jnp.ones((64, 256)), "head": jnp.ones(256)}
    >>> print(explain_moments(loss, params, jnp.ones((64, 64))))
    parameter  shape   variance from            FLOPs  of gradient's     held  gradient
    -----------------------------------------------------------------------------------
    dense      64x256  squared outer products  4.28 M           2.04  160 KiB    64 KiB
    head       256     all gradients at once   81.9 k           2.50   64 KiB     1 KiB
    """
    check_params(params)
    size = check_batch(batch, None)
    program = trace_program(loss_fn, params, batch, has_aux)
    refuse_batch_statistics(program)
    plan = make_plan(program)
    part = part_size(program, size)
    ways = choose_ways(plan, part)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    rows = [
        _of_batch(
            _row(plan, ways, i, jax.tree_util.keystr(path, simple=True, separator="/"), leaf, part),
            size,
            part,
        )
        for i, (path, leaf) in enumerate(leaves)
    ]
    return MomentsExplanation(tuple(rows), size, part)


def _of_batch(row: ParameterCost, size: int, part: int) -> ParameterCost:
    """A part's cost as that of the batch, which holds no more at once."""
    flops, gradient_flops = (size * flops // part for flops in (row.flops, row.gradient_flops))
    return row._replace(flops=flops, gradient_flops=gradient_flops)


def _row(plan: Plan, ways: Ways, i: int, name: str, leaf: Any, size: int) -> ParameterCost:
    uses = ways.uses.get(i, [])
    gradient = sum(_gradient_flops(use, plan, size) for use in uses)
    entries = math.prod(jnp.shape(leaf))
    if i in ways.unused:
        how, flops, held, advice = "the loss does not use it", 0, 0, ""
    elif i in ways.left_over:
        # Nobody knows what it costs a plain gradient: what the whole one costs stands for that.
        gradient = sum(_gradient_flops(use, plan, size) for use in plan.uses)
        how, flops, held, advice = _left_over(ways, i, gradient, entries, size)
    elif i in ways.stacked:
        how, advice = "all gradients at once", ""
        flops, held = gradient + 3 * size * entries, size * entries
    elif any(i in group for group in ways.joint):
        how, flops, held, advice = _joint(plan, ways, i, gradient, size)
    else:
        how, flops, held = _closed(plan, uses[0], gradient, size)
        advice = ""
    shape = tuple(jnp.shape(leaf))
    return ParameterCost(
        name or "params", shape, how, flops, gradient, _FLOAT * held, _FLOAT * entries, advice
    )


def _closed(plan: Plan, use: Use, gradient: int, size: int) -> tuple[str, int, int]:
    entries = gradient_entries(use, plan)
    if is_row_lookup(use):
        reads = plan.program.avals[use.tapped].size * math.prod(use.lengths)
        return "rows read, added up an example", gradient + 3 * size * reads, size * reads
    if is_outer_product(use):
        groups, _, inputs, outputs = use.rule.sizes(use.spec)
        held = size * groups * (inputs + outputs) * stacked_steps(use)
        return "squared outer products", 2 * gradient + 2 * held + 3 * entries, 2 * held
    if use.rule is None:
        return "all gradients at once", gradient + 3 * size * entries, size * entries
    chunk = chunk_size(size, entries)
    how = "products, all at once" if chunk == size else f"products, {chunk} examples at a time"
    return how, gradient + _MERGE * size * entries, chunk * entries


def _joint(plan: Plan, ways: Ways, i: int, gradient: int, size: int) -> tuple[str, int, int, str]:
    group = next(group for group in ways.joint if i in group)
    uses = ways.uses_of(group)
    entries = group_entries(plan, group, uses)
    chunk = chunk_size(size, entries)
    here = len(ways.uses[i])
    how = f"sum of {here} uses" if here > 1 else "gradients of what it makes"
    advice = (
        "it is used in several places, whose gradients add up before they are squared; where it "
        "need not be shared, give each place a parameter of its own."
        if here > 1
        else "an entry of it reaches several entries of what is used; apply it to the activations "
        "instead, one factor after the other."
    )
    flops = gradient + _MERGE * size * entries
    return f"{how}, {chunk} examples at a time", flops, chunk * entries, advice


def _left_over(
    ways: Ways, i: int, gradient: int, entries: int, size: int
) -> tuple[str, int, int, str]:
    # A second forward pass, and a backward pass through activations and this parameter.
    flops = 3 * gradient + _MERGE * size * entries
    where = ways.left_over[i]
    advice = (
        f"it meets the example in {where}; write its use as a matrix product, a convolution or an "
        "elementwise operation, outside of functions with derivatives of their own."
    )
    if "scan" in where or "loop" in where:
        advice = (
            f"it meets the example in {where}; let the body of the loop close over it instead, and "
            "transform it before the loop."
        )
    held = min(_PASS_EXAMPLES, size) * entries
    return "gradients in a pass of its own", flops, held, advice


def _gradient_flops(use: Use, plan: Plan, size: int) -> int:
    """Multiplications and additions of the plain gradient at a use."""
    steps = summed_steps(use) * stacked_steps(use)
    if use.rule is not None and use.rule.PRODUCT:
        return 2 * size * steps * math.prod(use.rule.sizes(use.spec))
    return 2 * size * steps * plan.program.avals[use.tapped].size


def _cells(row: ParameterCost) -> tuple[str, ...]:
    shape = "x".join(map(str, row.shape)) or "scalar"
    ratio = f"{row.flops / row.gradient_flops:.2f}" if row.gradient_flops else "-"
    return (
        row.name, shape, row.how, _units(row.flops, 1000, " ", ("", "k", "M", "G", "T")), ratio,
        _units(row.bytes_held, 1024, " ", ("B", "KiB", "MiB", "GiB")),
        _units(row.gradient_bytes, 1024, " ", ("B", "KiB", "MiB", "GiB")),
    )  # fmt: skip


def _units(value: float, base: int, gap: str, names: tuple[str, ...]) -> str:
    power = 0
    while value >= base and power < len(names) - 1:
        value, power = value / base, power + 1
    digits = f"{value:.0f}" if power == 0 or value >= 100 else f"{value:.3g}"
    return f"{digits}{gap}{names[power]}".rstrip()
