"""Exact moments at about the cost of a gradient: closed forms from one backward pass."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.gradient_moments import GradientMoments
from feasible_jax.moments.microbatch import microbatch_moments
from feasible_jax.moments.per_example import replace_padding, vary_like
from feasible_jax.moments.precision import accumulation_dtype, unbiased_third, unbiased_variance
from feasible_jax.moments.structured.execution import run, tap_shapes
from feasible_jax.moments.structured.gradients import example_gradients, move_sums, use_sums
from feasible_jax.moments.structured.outermost import back_to_params
from feasible_jax.moments.structured.parts import moments_in_parts, part_size
from feasible_jax.moments.structured.plan import Plan, make_plan
from feasible_jax.moments.structured.program import Program
from feasible_jax.moments.structured.sums import Sums, chunk_size, chunked_sums, stacked_sums
from feasible_jax.moments.structured.ways import Ways, choose_ways, group_entries


def structured_moments(
    program: Program,
    loss_fn: Callable[[Any, Any], Any],
    params: Any,
    batch: Any,
    weights: jax.Array | None,
    *,
    microbatch_size: int,
    third: bool = False,
    has_aux: bool = False,
) -> tuple[Any, GradientMoments]:
    """The losses and moments of a batch, from one backward pass without parameter gradients.

    Args:
      program: the loss of one example, from ``trace_program``.
      loss_fn: the loss itself, ``(params, example) -> scalar`` or ``(scalar, aux)``.
      params: the parameters, a tree of arrays.
      batch: a tree of arrays with a leading axis of ``B`` examples.
      weights: ``(B,)``, or None for ones.
      microbatch_size: examples at a time for parameters without a closed form.
      third: whether to take third moments as well.
      has_aux: whether the loss returns a pair.

    Returns:
      ``(losses, moments)``, or ``((losses, aux), moments)`` where ``has_aux``.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.moments.structured.program import trace_program
    >>> loss = lambda w, x: jnp.sum(w @ x)
    >>> params, batch = jnp.ones((1, 2)), jnp.array([[1.0, 0.0], [3.0, 0.0]])
    >>> program = trace_program(loss, params, batch)
    >>> losses, moments = structured_moments(program, loss, params, batch, None, microbatch_size=1)
    >>> moments.mean.tolist(), moments.variance.tolist(), losses.tolist()
    ([[2.0, 0.0]], [[2.0, 0.0]], [1.0, 3.0])
    """
    batch = replace_padding(batch, weights)
    size = jax.tree.leaves(batch)[0].shape[0]
    plan = make_plan(program)
    options = {"microbatch_size": microbatch_size, "third": third, "has_aux": has_aux}

    def moments_of(examples, w):
        return _at_once(plan, loss_fn, params, examples, w, **options)

    part = part_size(program, size)
    return (
        moments_of(batch, weights)
        if part == size
        else moments_in_parts(moments_of, batch, weights, part)
    )


def _at_once(
    plan: Plan, loss_fn, params, batch, weights, *, microbatch_size, third, has_aux
) -> tuple[Any, GradientMoments]:
    varying = vary_like(params, batch)
    size = jax.tree.leaves(batch)[0].shape[0]
    ways = choose_ways(plan, size)
    leaves, tree = jax.tree.flatten(varying)
    result, data = _backward(plan, leaves, batch)
    sums = _closed(plan, ways, leaves, data, weights, third)
    sums |= _stacked(plan, ways, leaves, data, weights, third)
    sums |= _joint(plan, ways, leaves, data, weights, third)
    rows = jnp.ones((size,)) if weights is None else weights
    sums |= {i: _no_gradient(leaves[i], batch, third) for i in ways.unused}
    moments = {i: _moments(sums[i], leaves[i], weights, size) for i in sums}
    moments |= _left_over(loss_fn, varying, batch, rows, ways, microbatch_size, third, has_aux)

    def pick(index):
        return tree.unflatten([moments[i][index] for i in range(len(leaves))])

    mean, variance = pick(0), pick(1)
    count = jnp.sum(rows, dtype=accumulation_dtype(*jax.tree.leaves(mean)))
    losses, *aux = result
    if has_aux:
        losses = (losses, jax.tree.unflatten(plan.program.aux_tree, aux))
    return losses, GradientMoments(mean, variance, count, pick(2) if third else None)


def _backward(plan: Plan, params: list[Any], batch: Any) -> tuple[list[Any], dict[int, Any]]:
    """What the loss returns, and residuals and cotangents at every use."""
    examples = jax.tree.leaves(batch)
    size = examples[0].shape[0]
    taps = {n: jnp.zeros((size, *tap.shape), tap.dtype) for n, tap in tap_shapes(plan).items()}

    def losses_of(taps):
        def one(example, here):
            return run(plan, params, example, here)

        (losses, *aux), residuals = jax.vmap(one)(examples, taps)
        return losses, (aux, residuals)

    losses, transpose, (aux, residuals) = jax.vjp(losses_of, vary_like(taps, batch), has_aux=True)
    (cotangents,) = transpose(jnp.ones_like(losses))
    return [losses, *aux], {n: (residuals.get(n, ()), cotangents[n]) for n in cotangents}


def _closed(plan: Plan, ways: Ways, params, data, weights, third) -> dict[int, Sums]:
    sums = {}
    for number, reached in ways.closed.items():
        use = plan.uses[number]
        at_top = use_sums(use, plan, data[number], weights, third)
        back, unit = back_to_params(plan, use.top, params)
        for param in reached:
            sums[param] = move_sums(at_top, lambda g, p=param, b=back: b(g)[p], unit)
    return sums


def _stacked(plan: Plan, ways: Ways, params, data, weights, third) -> dict[int, Sums]:
    """Small parameters: all their per-example gradients at once."""
    grads = _param_gradients(plan, ways, ways.stacked, params)(data)
    return {i: stacked_sums(grad, weights, third) for i, grad in grads.items()}


def _joint(plan: Plan, ways: Ways, params, data, weights, third) -> dict[int, Sums]:
    """Shared parameters: their per-example gradients, a few examples at a time."""
    sums: dict[int, Sums] = {}
    for reached in ways.joint:
        uses = ways.uses_of(reached)
        gradients = _param_gradients(plan, ways, reached, params)
        here = {use.number: data[use.number] for use in uses}
        size = here[uses[0].number][1].shape[0]
        chunk = chunk_size(size, group_entries(plan, reached, uses))
        sums |= chunked_sums(gradients, here, weights, chunk, third)
    return sums


def _param_gradients(plan: Plan, ways: Ways, reached: list[int], params) -> Callable:
    """From what the uses left behind to per-example gradients of these parameters."""
    uses = ways.uses_of(reached)
    backs = {use.number: back_to_params(plan, use.top, params)[0] for use in uses}

    def gradients(data):
        total: dict[int, Any] = {}
        for use in uses:
            at_top = example_gradients(use, plan, data[use.number])
            for i, grad in jax.vmap(backs[use.number])(at_top).items():
                if i in reached:
                    total[i] = total[i] + grad if i in total else grad
        return total

    return gradients


def _no_gradient(leaf, batch, third) -> Sums:
    zero = vary_like(jnp.zeros(leaf.shape, accumulation_dtype(leaf)), batch)
    return Sums(zero, zero, zero if third else None)


def _moments(sums: Sums, leaf: Any, weights: jax.Array | None, size: int) -> tuple[Any, Any, Any]:
    dtype = accumulation_dtype(leaf)
    mean, squares = sums.mean.astype(dtype), sums.squares.astype(dtype)
    cubes = None if sums.cubes is None else sums.cubes.astype(dtype)
    if weights is None and size > 2:
        # The general formulas below, without a decision about the count for every parameter.
        third = None if cubes is None else cubes * (size / (size - 1) / (size - 2))
        return mean, squares * (1 / (size - 1)), third
    count = jnp.sum(jnp.ones((size,)) if weights is None else weights, dtype=dtype)
    third = None if cubes is None else unbiased_third(cubes, count)
    return jnp.where(count > 0, mean, 0), unbiased_variance(squares, count), third


def _left_over(
    loss_fn, params, batch, rows, ways: Ways, microbatch_size, third, has_aux
) -> dict[int, tuple[Any, Any, Any]]:
    """Per-example gradients of these parameters alone, a few examples at a time."""
    if not ways.left_over:
        return {}
    leaves, tree = jax.tree.flatten(params)

    def loss_of(chosen, example):
        whole = [chosen.get(i, leaf) for i, leaf in enumerate(leaves)]
        return loss_fn(tree.unflatten(whole), example)

    chosen = {i: leaves[i] for i in ways.left_over}
    chunk = min(microbatch_size, rows.shape[0])
    _, found = microbatch_moments(loss_of, chosen, batch, rows, chunk, third=third, has_aux=has_aux)
    thirds = found.third if third else dict.fromkeys(chosen)
    return {i: (found.mean[i], found.variance[i], thirds[i]) for i in chosen}
