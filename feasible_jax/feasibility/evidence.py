"""Evidence as users hand it over, checked against the updates and laid out leaf by leaf."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from feasible_jax.feasibility.rule import Evidence
from feasible_jax.moments import GradientMoments, moments_from_per_example


def is_hole(node: Any) -> bool:
    """Whether a node of an update tree stands for no update: None, or masked away by Optax."""
    return node is None or isinstance(node, optax.MaskedNode)


def leaf_paths(updates: Any) -> tuple[list[tuple[str, Any]], Any]:
    """The leaves of an update tree, holes included, with their names, and its structure."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(updates, is_leaf=is_hole)
    named = [(jax.tree_util.keystr(p, simple=True, separator="/"), leaf) for p, leaf in leaves]
    return named, treedef


def read_evidence(name: str, given: Any, updates: Any, needs: str) -> Evidence:
    """The evidence of one constraint, in the order of the update's leaves.

    Args:
      name: the constraint's name, for messages.
      given: a ``GradientMoments`` or a tree of per-example gradients; it may cover parameters
        that the updates leave out.
      updates: the update tree, possibly with holes.
      needs: what the rule asks for, see ``Rule.needs``.

    Returns:
      ``Evidence``.

    Raises:
      ValueError: if a leaf is missing or has the wrong shape.
      TypeError: if moments are given where per-example gradients are needed.

    >>> import jax.numpy as jnp
    >>> read_evidence("retain", jnp.array([[1.0], [3.0]]), jnp.zeros(1), "moments").mean
    (Array([2.], dtype=float32),)
    """
    if isinstance(given, GradientMoments):
        if needs == "per_example":
            raise TypeError(
                f"evidence {name!r} is a GradientMoments, but this rule needs per-example gradients"
                " (every leaf (B, *param.shape)): moments do not hold correlations."
            )
        mean = _matching_leaves(name, "mean", given.mean, updates, stacked=False)
        variance = _matching_leaves(name, "variance", given.variance, updates, stacked=False)
        return Evidence(tuple(mean), tuple(variance), given.count)
    stacks = tuple(_matching_leaves(name, "gradients", given, updates, stacked=True))
    if needs == "per_example" or not stacks:
        return Evidence((), (), stacks[0].shape[0] if stacks else 0, stacks)
    moments = moments_from_per_example(stacks)
    return Evidence(tuple(moments.mean), tuple(moments.variance), moments.count)


def _matching_leaves(name: str, part: str, tree: Any, updates: Any, *, stacked: bool) -> list:
    named, treedef = leaf_paths(updates)
    try:
        places = treedef.flatten_up_to(tree)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"evidence {name!r} ({part}) has structure {jax.tree.structure(tree)}, the updates "
            f"{treedef}: give one array a parameter."
        ) from error
    leaves = []
    for (path, update), place in zip(named, places, strict=True):
        if is_hole(update):
            continue
        want = f"(B, *{jnp.shape(update)})" if stacked else f"{jnp.shape(update)}"
        have = jnp.shape(place)[1:] if stacked else jnp.shape(place)
        stack_missing = stacked and not jnp.ndim(place)
        if is_hole(place) or have != jnp.shape(update) or stack_missing:
            hint = "per-example gradients" if stacked else f"a GradientMoments' {part}"
            raise ValueError(
                f"evidence {name!r} ({hint}) at {path!r} has shape "
                f"{None if is_hole(place) else jnp.shape(place)}, the update {jnp.shape(update)}: "
                f"give shape {want}."
            )
        leaves.append(jnp.asarray(place))
    return leaves
