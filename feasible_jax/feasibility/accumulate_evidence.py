"""Evidence over microbatches: what ``optax.MultiSteps`` does for gradients, for both."""

from collections.abc import Callable
from numbers import Integral
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from feasible_jax.feasibility.evidence import (
    check_real,
    check_updates,
    evidence_of,
    filled,
    leaf_paths,
    scalar,
    zeros_of,
)
from feasible_jax.feasibility.requirements import merged_requirements
from feasible_jax.moments import GradientMoments, merge_moments
from feasible_jax.moments.precision import accumulation_dtype


class AccumulateEvidenceState(NamedTuple):
    """What ``accumulate_evidence`` remembers; the names are those of ``optax.MultiStepsState``.

    Attributes:
      mini_step: number of microbatches since the last update of the inner transformation, an int32
        scalar; 0 right after one.
      gradient_step: number of updates of the inner transformation, an int32 scalar.
      inner_opt_state: the state of the inner transformation.
      acc_grads: the average of the updates since then, in float32 or wider.
      evidence: the moments of all examples since then, by constraint.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.feasibility import feasible_updates
    >>> state = accumulate_evidence(feasible_updates("retain"), 4).init(jnp.zeros(2))
    >>> int(state.mini_step), sorted(state.evidence), float(state.evidence["retain"].count)
    (0, ['retain'], 0.0)
    """

    mini_step: jax.Array
    gradient_step: jax.Array
    inner_opt_state: Any
    acc_grads: Any
    evidence: dict[str, GradientMoments]


def accumulate_evidence(
    inner: optax.GradientTransformation,
    every_k_schedule: int | Callable[[jax.Array], Any],
) -> optax.GradientTransformationExtraArgs:
    """Collect gradients and evidence over microbatches, and update once on all of it.

    ``optax.MultiSteps`` averages the updates over microbatches, but hands on the evidence of the
    last one alone. This averages the updates and merges the evidence as well: what the inner
    transformation is shown at every ``k``-th call is the average of ``k`` updates and the moments
    of the union of ``k`` batches (``merge_moments``), as if it had been one large batch. Updates
    are zero in between, so that every microbatch is seen by the same parameters.

    Put the whole chain inside, as with ``MultiSteps``; for ``fj.unlearn`` that is the
    ``optimizer``, and there is no other ``feasibility``.

    - A ``GradientMoments`` is merged by its count, so evidence may come in batches of different
      sizes. The updates are averaged with equal weights, as by ``MultiSteps``.
    - Per-example gradients are turned into moments on arrival: no more than one microbatch of them
      is held. Rules that need them to the end, such as ``groupwise``, are refused.
    - Nothing is kept of a certificate's ``<name>_change``: the last call's is what is tested with,
      and no other is evaluated. Hand it the whole batch that certifies, drawn apart from all the
      microbatches; it needs no gradients.
    - Of any other extra argument the last call's is handed on.

    Args:
      inner: the transformation, with the optimizer in it.
      every_k_schedule: how many microbatches make an update, at least 1; or a function of the
        number of updates so far.

    Returns:
      A ``GradientTransformationExtraArgs`` that takes the same evidence as ``inner``, at every
      call. Its state holds, beside the inner one, a sum shaped like the parameters for the updates
      and two for each constraint, in float32 or wider.

    Raises:
      ValueError: for a number below 1, or not whole; from ``init``, if the inner transformation
        needs per-example gradients; from ``update``, for evidence of the wrong shape.
      TypeError: for complex parameters or updates; from ``update``, if a constraint's evidence is
        missing.

    >>> import jax.numpy as jnp, optax
    >>> import feasible_jax as fj
    >>> inner = optax.chain(optax.sgd(0.1), fj.feasible_updates("retain"))
    >>> tx, params = fj.accumulate_evidence(inner, 2), jnp.ones(2)
    >>> state = tx.init(params)
    >>> for examples in (jnp.array([[1.0, 1.0], [1.1, -1.0]]), jnp.array([[0.9, 0.5], [1.0, 0.0]])):
    ...     updates, state = tx.update(examples.mean(0), state, params, retain=examples)
    ...     print([round(u, 2) for u in updates.tolist()])
    [0.0, 0.0]
    [-0.1, 0.0]
    """
    inner = optax.with_extra_args_support(inner)
    every_k = _as_schedule(every_k_schedule)

    def init(params: Any) -> Any:
        check_real("params", leaf_paths(params)[0])
        inner_state = inner.init(params)
        return AccumulateEvidenceState(
            mini_step=scalar(jnp.int32),
            gradient_step=scalar(jnp.int32),
            inner_opt_state=inner_state,
            acc_grads=zeros_of(params, wide=True),
            evidence={name: _no_moments(params) for name in _to_merge(inner_state)},
        )

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        seen = state.mini_step + 1
        last = seen >= every_k(state.gradient_step)
        check_real("updates", leaf_paths(updates)[0])
        check_updates(updates, params)
        updates = jax.tree.map(jnp.asarray, updates)
        gradient = jax.tree.map(
            lambda mean, u: mean + (u.astype(mean.dtype) - mean) / seen.astype(mean.dtype),
            state.acc_grads,
            updates,
        )
        evidence = {
            name: _merged(before, name, extra_args, updates)
            for name, before in state.evidence.items()
        }

        def act():
            result, inner_state = inner.update(
                _cast_like(gradient, updates),
                state.inner_opt_state,
                params,
                **{**extra_args, **evidence},
            )
            return _cast_like(result, updates), _cast_like(inner_state, state.inner_opt_state)

        def wait():
            return zeros_of(updates), state.inner_opt_state

        result, inner_state = jax.lax.cond(last, act, wait)
        return result, AccumulateEvidenceState(
            mini_step=jnp.where(last, 0, seen),
            gradient_step=jnp.where(
                last, optax.safe_increment(state.gradient_step), state.gradient_step
            ),
            inner_opt_state=inner_state,
            acc_grads=_zero_where(last, gradient),
            evidence=_zero_where(last, evidence),
        )

    return optax.GradientTransformationExtraArgs(init, update)


def _as_schedule(every_k: Any) -> Callable[[jax.Array], jax.Array]:
    if callable(every_k):
        return lambda step: jnp.asarray(every_k(step)).astype(jnp.int32)
    # Under inject_hyperparams it is an array.
    if not isinstance(every_k, jax.Array) and (
        not isinstance(every_k, Integral) or isinstance(every_k, bool) or every_k < 1
    ):
        raise ValueError(
            f"every_k_schedule={every_k!r}: give a whole number of microbatches of at least 1, or "
            "a function from the number of updates so far to one."
        )
    return lambda step: jnp.asarray(every_k).astype(jnp.int32)


def _to_merge(inner_state: Any) -> list[str]:
    """The constraints whose moments the inner transformation asks for."""
    needs = merged_requirements(inner_state)
    for name, kind in needs.items():
        if kind == "per_example":
            raise ValueError(
                f"constraint {name!r} is tested by a rule that needs per-example gradients, as "
                "groupwise() does: of microbatches only moments can be merged. Choose a rule that "
                "takes moments, such as coordinatewise(), or update on one large batch."
            )
    return [name for name, kind in needs.items() if kind != "nothing"]


def _no_moments(params: Any) -> GradientMoments:
    mean, variance = (zeros_of(params, wide=True) for _ in range(2))
    return GradientMoments(mean, variance, scalar(accumulation_dtype(*jax.tree.leaves(mean))))


def _merged(before: GradientMoments, name: str, given: Any, updates: Any) -> GradientMoments:
    fresh = evidence_of(name, given, updates, "moments")
    named, treedef = leaf_paths(updates)
    mean, variance = (filled(treedef, named, part) for part in (fresh.mean, fresh.variance))
    merged = merge_moments(before, GradientMoments(mean, variance, jnp.asarray(fresh.count)))
    return _cast_like(merged, before)


def _cast_like(tree: Any, like: Any) -> Any:
    def cast(leaf, wanted):
        random_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return leaf if random_key else leaf.astype(wanted.dtype)

    return jax.tree.map(cast, tree, like)


def _zero_where(condition: jax.Array, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.where(condition, jnp.zeros_like(leaf), leaf), tree)
