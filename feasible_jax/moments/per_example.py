"""Per-example losses and gradients of a loss that is written for one example."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def per_example_gradients(
    loss_fn: Callable[[Any, Any], jax.Array], params: Any, batch: Any
) -> tuple[jax.Array, Any]:
    """The loss and the gradient of every example of a batch, by ``vmap``.

    The slow oracle that every other strategy is tested against; it holds ``B`` copies of the
    parameters. Inside ``shard_map`` the parameters are first made varying over the batch's axes:
    the gradient of a replicated parameter would be summed over the shards, silently.

    Args:
      loss_fn: ``(params, example) -> scalar`` for ONE example.
      params: the parameters.
      batch: a tree of arrays with a leading axis of examples.

    Returns:
      ``(losses, gradients)``: ``(B,)`` and a tree whose every leaf is ``(B, *param.shape)``.

    >>> import jax.numpy as jnp
    >>> loss = lambda w, example: (example * w) ** 2 / 2
    >>> losses, grads = per_example_gradients(loss, jnp.array(1.0), jnp.array([1.0, 2.0]))
    >>> losses.tolist(), grads.tolist()
    ([0.5, 2.0], [1.0, 4.0])
    """
    params = vary_like(params, batch)
    return jax.vmap(jax.value_and_grad(loss_fn), in_axes=(None, 0))(params, batch)


def vary_like(params: Any, batch: Any) -> Any:
    """The parameters, varying over every mesh axis that the batch varies over."""
    axes = set()
    for leaf in jax.tree.leaves(batch):
        axes |= _manual_axes(leaf)

    def vary(leaf):
        missing = tuple(sorted(axes - _manual_axes(leaf)))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(vary, params)


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


def check_scalar_loss(loss_fn: Callable, params: Any, batch: Any) -> None:
    """Raise a ``ValueError`` unless the loss of one example is a real scalar."""
    size = jax.tree.leaves(batch)[0].shape[0]
    losses = jax.eval_shape(jax.vmap(loss_fn, in_axes=(None, 0)), params, batch)
    shape = getattr(losses, "shape", None)
    if shape != (size,) or not jnp.issubdtype(losses.dtype, jnp.floating):
        got = f"{losses.dtype}{list(shape[1:])}" if shape else jax.tree.structure(losses)
        raise ValueError(
            "loss_fn(params, example) must return a real floating scalar for ONE example, "
            f"without a batch axis; it returned {got}."
        )


def _manual_axes(leaf: Any) -> set[str]:
    aval: Any = jax.typeof(leaf)
    # The attribute moved within jax 0.10. Where both are gone, fail: silence would be a wrong sum.
    known = hasattr(aval, "manual_axis_type")
    return set(aval.manual_axis_type.varying if known else aval.vma)
