"""Evidence on a whole update: its directional derivatives, or what it does to losses."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding

from feasible_jax.moments.estimator import check_loss
from feasible_jax.moments.per_example import check_batch, vary_like
from feasible_jax.moments.precision import accumulation_dtype
from feasible_jax.moments.shards import by_shard, everywhere, spread_of

# Differences of losses up to this many units in their last place are taken for rounding.
_ROUNDING = 4.0


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["batch", "weights"],
    meta_fields=["loss_fn", "first_order", "batch_sharding"],
)
@dataclass(frozen=True)
class PerExampleChange:
    """What an update does to the loss of every example of a batch: ``(params, updates) -> (B,)``.

    A pytree of the batch and its weights, so that it may cross ``jit`` as an argument.

    Attributes:
      loss_fn: ``(params, example) -> scalar`` for ONE example.
      batch: a tree of arrays with a leading axis of ``B`` examples.
      weights: ``(B,)``, 0 for padding and 1 elsewhere, or None.
      first_order: whether changes are directional derivatives, which scale with the update, or
        exact differences.
      batch_sharding: how the batch is spread over an automatic mesh, or None.

    >>> import jax.numpy as jnp
    >>> change = loss_change(lambda w, x: w * w * x, jnp.array([1.0, 2.0]))
    >>> change(jnp.array(1.0), jnp.array(-0.5)).tolist(), change.weights is None
    ([-0.75, -1.5], True)
    """

    loss_fn: Callable[[Any, Any], jax.Array]
    batch: Any
    weights: jax.Array | None
    first_order: bool
    batch_sharding: NamedSharding | None = None

    def __call__(self, params: Any, updates: Any) -> jax.Array:
        """The change of every example's loss, ``(B,)``, float32 or wider.

        Raises:
          ValueError: for a loss that is no scalar, or normalises by statistics of the batch: an
            example alone is then its own batch, and no step changes its loss.
        """
        check_batch(self.batch, self.weights)
        params = jax.tree.map(jnp.asarray, params)
        updates = _filled(params, updates)

        def losses(params, batch):
            return jax.vmap(self.loss_fn, in_axes=(None, 0))(params, batch)

        def derivatives(step) -> jax.Array:
            tangents = jax.tree.map(lambda u, p: u.astype(p.dtype), step, params)

            def along(points, batch):
                params, tangents = points
                if self.first_order:
                    check_loss(self.loss_fn, params, batch)
                return jax.jvp(lambda p: losses(p, batch), (params,), (tangents,))[1]

            changes = self._for_each(along, (params, tangents))
            return changes.astype(accumulation_dtype(changes))

        if self.first_order:
            return derivatives(updates)
        moved = optax.apply_updates(params, updates)

        def at_both(points, batch):
            check_loss(self.loss_fn, points[0], batch)  # where it runs: its types may be a shard's
            return tuple(losses(p, batch) for p in points)

        before, after = self._for_each(at_both, (params, moved))
        dtype = accumulation_dtype(before, after)
        differences = after.astype(dtype) - before.astype(dtype)
        # What rounds to no change at all would pass for harmless: there the slope speaks for it.
        lost = _largest(differences, self.weights) <= _ROUNDING * float(
            jnp.finfo(after.dtype).eps
        ) * _largest(before.astype(dtype), self.weights)
        step = jax.tree.map(jnp.subtract, moved, params)
        return jax.lax.cond(lost, lambda: derivatives(step), lambda: differences)

    def _for_each(self, fn: Callable[[Any, Any], Any], points: Any) -> Any:
        """What ``fn`` says of every example; on a mesh each device asks its own, and all hear."""
        spread = spread_of(self.batch, self.batch_sharding)

        def of_shard(points, batch):
            return fn(vary_like(points, batch), batch)

        if spread is None:
            return of_shard(points, self.batch)
        return everywhere(by_shard(of_shard, spread, True)(points, self.batch), spread)


def directional_derivatives(
    loss_fn: Callable[[Any, Any], jax.Array],
    batch: Any,
    weights: jax.Array | None = None,
    batch_sharding: NamedSharding | None = None,
) -> PerExampleChange:
    """Per-example directional derivatives of an update: ``q_n = <grad l_n(params), updates>``.

    One forward-mode pass (a JVP): no per-example gradients, and correlations between coordinates
    are exact. First order only: it sees where a step begins to go, not where it ends.

    Args:
      loss_fn: ``(params, example) -> scalar``, the loss of ONE example.
      batch: a tree of arrays with a leading axis of ``B`` examples, independent of the choice of
        the update.
      weights: ``(B,)``, 0 for padding and 1 elsewhere, or None.
      batch_sharding: how the batch is spread over an automatic mesh, see ``grad_moments``.

    Returns:
      A ``PerExampleChange``, to be handed to ``certify_updates`` as ``<name>_change=``.

    Raises:
      ValueError: for an empty or ragged batch, or weights that do not fit it.

    >>> import jax.numpy as jnp
    >>> change = directional_derivatives(lambda w, x: w * w * x, jnp.array([1.0, 2.0]))
    >>> change(jnp.array(1.0), jnp.array(-0.5)).tolist()
    [-1.0, -2.0]
    """
    check_batch(batch, weights)
    return PerExampleChange(loss_fn, batch, weights, True, batch_sharding)


def loss_change(
    loss_fn: Callable[[Any, Any], jax.Array],
    batch: Any,
    weights: jax.Array | None = None,
    batch_sharding: NamedSharding | None = None,
) -> PerExampleChange:
    """Paired loss differences of an update: ``d_n = l_n(params + updates) - l_n(params)``.

    Two forward passes and no linearisation: the finite step is tested, so that a smaller one may
    pass where a larger one fails. The parameters after the update are rounded to their dtype, as
    they will be. Where no loss of the batch changes by more than rounding, derivatives along the
    step take the place of the differences, which would show no harm whatever the step.

    Args:
      loss_fn: ``(params, example) -> scalar``, the loss of ONE example.
      batch: a tree of arrays with a leading axis of ``B`` examples, independent of the choice of
        the update.
      weights: ``(B,)``, 0 for padding and 1 elsewhere, or None.
      batch_sharding: how the batch is spread over an automatic mesh, see ``grad_moments``.

    Returns:
      A ``PerExampleChange``, to be handed to ``certify_updates`` as ``<name>_change=``.

    Raises:
      ValueError: for an empty or ragged batch, or weights that do not fit it.

    >>> import jax.numpy as jnp
    >>> change = loss_change(lambda w, x: w * w * x, jnp.array([1.0, 2.0]))
    >>> change(jnp.array(1.0), jnp.array(-0.5)).tolist()
    [-0.75, -1.5]
    """
    check_batch(batch, weights)
    return PerExampleChange(loss_fn, batch, weights, False, batch_sharding)


def _filled(params: Any, updates: Any) -> Any:
    """The updates, with zeros where Optax masked a parameter away."""
    leaves, treedef = jax.tree.flatten(params)
    places = treedef.flatten_up_to(updates)
    return treedef.unflatten(
        [
            jnp.zeros_like(leaf) if _is_hole(place) else jnp.asarray(place)
            for leaf, place in zip(leaves, places, strict=True)
        ]
    )


def _largest(values: jax.Array, weights: jax.Array | None) -> jax.Array:
    sizes = jnp.abs(values)
    return jnp.max(sizes if weights is None else jnp.where(weights.astype(bool), sizes, 0))


def _is_hole(place: Any) -> bool:
    return place is None or isinstance(place, optax.MaskedNode)
