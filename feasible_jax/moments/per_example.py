"""Per-example losses and gradients of a loss that is written for one example."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.shards import by_shard, spread_of


def per_example_gradients(
    loss_fn: Callable[[Any, Any], Any], params: Any, batch: Any, *, has_aux: bool = False
) -> tuple[Any, Any]:
    """The loss and the gradient of every example of a batch, by ``vmap``.

    The slow oracle that every other strategy is tested against; it holds ``B`` copies of the
    parameters. Inside ``shard_map`` the parameters are first made varying over the batch's axes:
    the gradient of a replicated parameter would be summed over the shards, silently. On an explicit
    mesh every device takes the gradients of its own examples.

    Args:
      loss_fn: ``(params, example) -> scalar`` for ONE example.
      params: the parameters.
      batch: a tree of arrays with a leading axis of examples.
      has_aux: whether ``loss_fn`` returns ``(scalar, aux)``, as in ``jax.value_and_grad``.

    Returns:
      ``(losses, gradients)``: ``(B,)`` and a tree whose every leaf is ``(B, *param.shape)``; where
      ``has_aux``, ``((losses, aux), gradients)`` with a leading axis of ``B`` on every leaf of aux.

    >>> import jax.numpy as jnp
    >>> loss = lambda w, example: (example * w) ** 2 / 2
    >>> losses, grads = per_example_gradients(loss, jnp.array(1.0), jnp.array([1.0, 2.0]))
    >>> losses.tolist(), grads.tolist()
    ([0.5, 2.0], [1.0, 4.0])
    """
    grad_fn = jax.vmap(jax.value_and_grad(loss_fn, has_aux=has_aux), in_axes=(None, 0))

    def gradients(params, batch):
        return grad_fn(vary_like(params, batch), batch)

    spread = spread_of(batch)
    if spread is not None:
        gradients = by_shard(gradients, spread, True)
    return gradients(params, batch)


def vary_like(params: Any, batch: Any) -> Any:
    """The parameters, varying over every mesh axis that the batch varies over."""
    axes = set()
    for leaf in jax.tree.leaves(batch):
        axes |= manual_axes(leaf)

    def vary(leaf):
        missing = tuple(sorted(axes - manual_axes(leaf)))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(vary, params)


def replace_padding(batch: Any, weights: Any) -> Any:
    """The batch, with a copy of the first real example in the place of every padded one.

    A padded example may hold NaN, and a gradient of ``0 * NaN`` is not 0: whoever differentiates a
    weighted sum of losses takes the padding out first.

    Args:
      batch: a tree of arrays with a leading axis of ``B`` examples.
      weights: ``(B,)`` of any dtype, 0 for padding, or None where there is none.

    Returns:
      A tree like ``batch``; ``batch`` itself where ``weights`` is None. Where every weight is 0
      there is no real example, and the first stands in.

    >>> import jax.numpy as jnp
    >>> replace_padding(jnp.array([jnp.nan, 2.0, 3.0]), jnp.array([0.0, 1.0, 1.0])).tolist()
    [2.0, 2.0, 3.0]
    """
    if weights is None:
        return batch
    real = jnp.asarray(weights).astype(jnp.float32) > 0
    first = jnp.argmax(real)

    def replace(leaf):
        leaf = jnp.asarray(leaf)
        return jnp.where(real.reshape((-1,) + (1,) * (leaf.ndim - 1)), leaf, leaf[first][None])

    return jax.tree.map(replace, batch)


def check_params(params: Any) -> None:
    """Raise unless there are parameters, all of a real floating dtype."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise ValueError("params has no leaves: there is no gradient to take moments of.")
    for path, leaf in leaves:
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"params{jax.tree_util.keystr(path)} has dtype {dtype}: moments are defined for "
                "real floating parameters; close over the others, or make them part of the example."
            )


def check_batch(batch: Any, weights: Any) -> int:
    """The number of examples of a batch, or a ``ValueError`` that says what is wrong with it."""
    leaves = jax.tree_util.tree_leaves_with_path(batch)
    shapes = {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves}
    sizes = {shape[:1] for shape in shapes.values()}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(f"batch must have one leading axis of examples on every leaf: {shapes}.")
    (size,) = sizes.pop()
    if size == 0:
        raise ValueError(f"batch is empty: {shapes}; gradients need at least one example.")
    if weights is not None and jnp.asarray(weights).shape != (size,):
        raise ValueError(
            f"weights has shape {jnp.asarray(weights).shape}, the batch {size} examples: "
            f"give ({size},)."
        )
    return size


def manual_axes(leaf: Any) -> set[str]:
    """The mesh axes that a value varies over inside ``shard_map``; none outside."""
    aval: Any = jax.typeof(leaf)
    # The attribute moved within jax 0.10. Where both are gone, fail: silence would be a wrong sum.
    known = hasattr(aval, "manual_axis_type")
    return set(aval.manual_axis_type.varying if known else aval.vma)
