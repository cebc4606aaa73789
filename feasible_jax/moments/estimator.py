"""`grad_moments`: one front door to every way of taking gradient moments."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from feasible_jax.moments.gradient_moments import GradientMoments, moments_from_per_example
from feasible_jax.moments.grouped import grouped_moments
from feasible_jax.moments.merging import reduce_moments
from feasible_jax.moments.microbatch import microbatch_moments
from feasible_jax.moments.per_example import (
    check_batch,
    check_params,
    per_example_gradients,
    vary_like,
)
from feasible_jax.moments.shards import (
    Spread,
    automatic,
    by_shard,
    laid_out_like,
    spread_of,
)
from feasible_jax.moments.structured import (
    Program,
    refuse_batch_statistics,
    structured_moments,
    trace_program,
)

STRATEGIES = ("auto", "structured", "vmap", "microbatch", "grouped")


def grad_moments(
    loss_fn: Callable[[Any, Any], Any],
    strategy: str = "auto",
    *,
    microbatch_size: int = 16,
    num_groups: int = 8,
    third: bool = False,
    return_losses: bool = False,
    has_aux: bool = False,
    batch_sharding: NamedSharding | None = None,
) -> Callable[..., Any]:
    """A function that takes the mean and variance of per-example gradients of a batch.

    Every strategy but ``"grouped"`` gives the same result; they differ in time and memory.

    Args:
      loss_fn: ``(params, example) -> scalar``, the loss of ONE example (no batch axis); where
        ``has_aux``, ``(scalar, aux)``.
      strategy:

        - ``"structured"`` transforms the program of the loss: one backward pass without parameter
          gradients, then a closed form for every parameter, at about the cost of a gradient and
          without a gradient per example in memory. ``explain_moments`` says how each parameter
          fares. ``"auto"`` is this.
        - ``"vmap"`` holds a gradient for every example at once.
        - ``"microbatch"`` scans over ``microbatch_size`` examples at a time.
        - ``"grouped"`` gives the variance of the mean from the means of ``num_groups`` groups, for
          models too large for the exact form: ``count`` is the number of groups, and one
          observation is a group's mean.
      microbatch_size: examples a step, at least 1: under ``"microbatch"``, and under
        ``"structured"`` for parameters without a closed form.
      num_groups: groups that ``"grouped"`` deals the examples to, at least 2, at most ``B``.
      third: also take third central moments, see ``GradientMoments`` and ``skewness``.
      return_losses: also return the losses of the examples, which the gradients need anyway.
      has_aux: also return what the loss returns beside its value, stacked over the examples.
      batch_sharding: how the batch is spread over a mesh. Every device then takes the moments of
        its own examples (``microbatch_size`` of them at a time), and a few times the size of the
        parameters crosses the mesh, whatever ``B``. On an explicit mesh the batch's type says it;
        on an automatic mesh and with None, the compiler has to find a way by itself.

    Returns:
      ``(params, batch, weights=None) -> GradientMoments``; ``(losses, GradientMoments)`` with
      ``losses`` of shape ``(B,)`` where ``return_losses``; ``(aux, GradientMoments)`` where
      ``has_aux``; ``(losses, aux, GradientMoments)`` where both. ``batch`` is a tree with a
      leading axis of ``B`` examples on every leaf; ``weights`` is ``(B,)``, how often each example
      counts, 0 for padding, whose content, loss and aux mean nothing.

    Raises:
      ValueError: for an unknown strategy, params without leaves, an empty or ragged batch,
        ``weights`` of the wrong shape, a batch that does not divide over its mesh axes, a loss that
        is not a scalar, or a loss that normalises with statistics of the batch, which leaves no
        gradient of one example.
      TypeError: if a parameter is not of a real floating dtype.

    >>> import jax.numpy as jnp
    >>> loss = lambda w, example: 0.5 * (w * example[0] - example[1]) ** 2
    >>> batch = (jnp.array([1.0, 2.0]), jnp.array([0.0, 0.0]))
    >>> moments = grad_moments(loss)(jnp.array(1.0), batch)
    >>> float(moments.mean), float(moments.variance), float(moments.count)
    (2.5, 4.5, 2.0)
    """
    if strategy not in STRATEGIES:
        known = ", ".join(map(repr, STRATEGIES))
        raise ValueError(f"strategy={strategy!r}: choose one of {known}.")
    if isinstance(microbatch_size, int) and microbatch_size < 1:
        raise ValueError(f"microbatch_size={microbatch_size}: give at least 1.")
    options: dict[str, Any] = {"third": third, "has_aux": has_aux}

    def moments_of(params, batch, weights=None):
        params = jax.tree.map(jnp.asarray, params)
        batch = jax.tree.map(jnp.asarray, batch)
        check_params(params)
        check_batch(batch, weights)
        given = None if weights is None else jnp.asarray(weights)
        spread = spread_of(batch, batch_sharding)
        if spread is None:
            extras, moments = take(params, batch, given)
        elif strategy == "grouped":
            extras, moments = _automatically(take, spread, third, params, batch, given)
        else:
            extras, moments = _shard_by_shard(take, spread, params, batch, given)
        return (*extras, moments) if extras else moments

    def take(params, batch, given):
        size = check_batch(batch, given)
        params = vary_like(params, batch)
        program = check_loss(loss_fn, params, batch, has_aux=has_aux)
        chunk = min(microbatch_size, size)
        if strategy == "vmap":
            result, grads = per_example_gradients(loss_fn, params, batch, has_aux=has_aux)
            moments = moments_from_per_example(grads, given, third=third)
        elif strategy == "microbatch":
            w = jnp.ones((size,), jnp.float32) if given is None else given
            result, moments = microbatch_moments(loss_fn, params, batch, w, chunk, **options)
        elif strategy == "grouped":
            w = jnp.ones((size,), jnp.float32) if given is None else given
            result, moments = grouped_moments(loss_fn, params, batch, w, num_groups, **options)
        else:
            result, moments = structured_moments(
                program, loss_fn, params, batch, given, microbatch_size=chunk, **options
            )
        losses, aux = result if has_aux else (result, None)
        extras = [*([losses] if return_losses else []), *([aux] if has_aux else [])]
        return extras, moments

    return moments_of


def _shard_by_shard(take, spread: Spread, params, batch, weights) -> tuple[Any, GradientMoments]:
    """Moments of every shard, merged: twice the size of the parameters crosses the mesh."""

    def of_shard(*args):
        extras, moments = take(*args)
        return extras, reduce_moments(moments, spread.axes)

    extras, moments = by_shard(of_shard, spread, (True, False))(params, batch, weights)
    parts = {
        name: jax.tree.map(laid_out_like, getattr(moments, name), params)
        for name in ("mean", "variance", "third")
        if getattr(moments, name) is not None
    }
    return extras, moments._replace(**parts)


def _automatically(
    take, spread: Spread, third: bool, params, batch, weights
) -> tuple[Any, GradientMoments]:
    """Moments of groups, whose examples lie on all shards: there is no work for one by itself."""
    moments = GradientMoments(
        params, params, spread.sharding(rows=False), params if third else None
    )
    like = spread.sharding(rows=True), moments
    return automatic(take, like, spread.axes)(params, batch, weights)


def check_loss(
    loss_fn: Callable[[Any, Any], Any], params: Any, batch: Any, *, has_aux: bool = False
) -> Program:
    """The program of the loss of one example, or a ``ValueError`` that says what is wrong with it.

    Args:
      loss_fn: ``(params, example) -> scalar``, or ``(scalar, aux)``.
      params: the parameters.
      batch: a tree of arrays with a leading axis of examples.
      has_aux: whether the loss returns a pair.

    >>> import jax.numpy as jnp
    >>> check_loss(lambda w, x: w * x, jnp.ones(2), jnp.ones((5, 2)))
    Traceback (most recent call last):
    ...
    ValueError: loss_fn(params, example) must return a real floating scalar for ONE example, ...
    """
    program = trace_program(loss_fn, params, batch, has_aux)
    refuse_batch_statistics(program)
    return program
