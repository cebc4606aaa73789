"""What one step observes: losses, gradients and evidence, each computed once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from feasible_jax.methods.method import Method, Problem
from feasible_jax.moments import GradientMoments, grad_moments, per_example_gradients
from feasible_jax.moments.shards import automatic, laid_out_like, spread_of


class Observation(NamedTuple):
    """A set's batch seen through the training loss.

    Attributes:
      loss: mean loss of the batch, a scalar.
      gradient: its gradient, a tree shaped like the parameters.
      evidence: what a constraint on the loss may be tested with, or None where none is.
    """

    loss: jax.Array
    gradient: Any
    evidence: Any


def observe(
    loss_fn: Callable[[Any, Any], jax.Array],
    params: Any,
    batch: Any,
    needs: str,
    strategy: str,
    batch_sharding: NamedSharding | None = None,
) -> Observation:
    """Observe the training loss on a batch, as cheaply as the evidence needed allows.

    Args:
      loss_fn: ``(params, example) -> scalar``.
      params: the parameters.
      batch: ``B`` examples.
      needs: ``"nothing"`` and ``"mean"`` cost a plain gradient; ``"moments"`` and
        ``"per_example"`` one gradient an example.
      strategy: how moments are taken, see ``grad_moments``.
      batch_sharding: how the batch is spread over a mesh, see there too.

    Returns:
      An ``Observation`` whose gradient has the dtypes of the parameters.

    >>> import jax.numpy as jnp
    >>> seen = observe(lambda w, x: w * x, jnp.array(1.0), jnp.array([1.0, 3.0]), "mean", "auto")
    >>> float(seen.loss), float(seen.gradient), float(seen.evidence.variance)
    (2.0, 2.0, inf)
    """
    if needs == "per_example":
        losses, stacks = per_example_gradients(loss_fn, params, batch)
        gradient = jax.tree.map(
            lambda g, p: laid_out_like(jnp.mean(g, axis=0, dtype=g.dtype), p), stacks, params
        )
        return Observation(jnp.mean(losses), gradient, stacks)
    if needs == "moments":
        moments_of = grad_moments(
            loss_fn, strategy, return_losses=True, batch_sharding=batch_sharding
        )
        losses, moments = moments_of(params, batch)
        gradient = jax.tree.map(lambda g, p: g.astype(p.dtype), moments.mean, params)
        return Observation(jnp.mean(losses), gradient, moments)
    loss, gradient = _mean_gradient(loss_fn, params, batch)
    evidence = None
    if needs == "mean":
        # Nobody may take a gradient without a variance for a certain one.
        unknown = jax.tree.map(lambda g: jnp.full_like(g, jnp.inf, dtype=jnp.float32), gradient)
        size = jax.tree.leaves(batch)[0].shape[0]
        evidence = GradientMoments(gradient, unknown, jnp.float32(size))
    return Observation(loss, gradient, evidence)


def method_gradient(
    method: Method,
    problem: Problem,
    params: Any,
    batches: dict[str, Any],
    beside: dict[str, Any],
    seen: dict[str, Observation],
    progress: jax.Array,
    key: jax.Array,
    active: tuple[str, ...],
) -> tuple[dict[str, jax.Array], Any]:
    """The gradient of a method's active objectives, reusing what was observed already.

    Returns:
      ``(losses, gradient)``: the loss of every objective, NaN for those not active, and the
      gradient of ``sum_k weight_k objective_k + penalty``, or what ``combine`` makes of them.
    """
    losses, gradients = {}, {}
    for i, objective in enumerate(method.objectives):
        if objective.name not in active:
            losses[objective.name] = jnp.full((), jnp.nan, jnp.float32)
            continue
        if objective.loss is None and objective.data in seen:
            loss, gradient, _ = seen[objective.data]
        else:
            loss, gradient = _objective_gradient(
                objective, problem, params, batches[objective.data], beside.get(objective.data),
                jax.random.fold_in(key, i),
            )  # fmt: skip
        losses[objective.name] = loss.astype(jnp.float32)
        gradients[objective.name] = gradient
    if method.combine is not None:
        acting = {name: losses[name] for name in gradients}
        combined = method.combine(gradients, acting, progress)
        total = jax.tree.map(lambda g, p: g.astype(p.dtype), combined, params)
    else:
        total = _weighted_sum(method, gradients, params, progress)
    if method.penalty is not None:
        gradient = jax.grad(lambda p: method.penalty(problem, p, progress))(params)
        total = jax.tree.map(jnp.add, total, gradient)
    return losses, total


def _weighted_sum(method: Method, gradients: dict[str, Any], params: Any, progress: jax.Array):
    total = jax.tree.map(jnp.zeros_like, params)
    for objective, weight in zip(method.objectives, method.weights, strict=True):
        if objective.name in gradients:
            scale = weight(progress) if callable(weight) else weight
            gradient = gradients[objective.name]
            total = jax.tree.map(
                lambda t, g, s=scale: t + jnp.asarray(s, t.dtype) * g, total, gradient
            )
    return total


def _objective_gradient(objective, problem, params, batch, beside, key):
    if objective.loss is None:
        return _mean_gradient(problem.loss_fn, params, batch)

    def loss(params, example, key, row, original, extras):
        here = problem._replace(original_params=original, extras=extras, beside=row)
        return objective.loss(here, params, example, key)

    keys = jax.random.split(key, jax.tree.leaves(batch)[0].shape[0])
    fixed = (problem.original_params, problem.extras)
    return _mean_gradient(loss, params, batch, keys, beside, fixed=fixed)


def _mean_gradient(loss, params, *rows, fixed=()):
    """The mean of ``loss(params, *rows, *fixed)`` over a batch, and its gradient.

    Of a batch that is spread over a mesh, the compiler finds out what has to be summed.
    """

    def take(params, rows, fixed):
        axes = (None, *(0 for _ in rows), *(None for _ in fixed))
        losses = jax.vmap(loss, in_axes=axes)
        return jax.value_and_grad(lambda p: jnp.mean(losses(p, *rows, *fixed)))(params)

    spread = spread_of(rows[0])
    if spread is not None:
        take = automatic(take, (spread.sharding(rows=False), params), spread.axes)
    return take(params, rows, fixed)
