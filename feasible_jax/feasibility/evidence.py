"""Evidence as users hand it over, checked against the updates and laid out leaf by leaf."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from feasible_jax.feasibility.rule import Evidence
from feasible_jax.moments import GradientMoments, moments_from_per_example
from feasible_jax.moments.precision import accumulation_dtype


def is_hole(node: Any) -> bool:
    """Whether a node of an update tree stands for no update: None, or masked away by Optax."""
    return node is None or isinstance(node, optax.MaskedNode)


def leaf_paths(updates: Any) -> tuple[list[tuple[str, Any]], Any]:
    """The leaves of an update tree, holes included, with their names, and its structure."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(updates, is_leaf=is_hole)
    named = [(jax.tree_util.keystr(p, simple=True, separator="/"), leaf) for p, leaf in leaves]
    return named, treedef


def filled(treedef: Any, named: list[tuple[str, Any]], values: Sequence[Any]) -> Any:
    """A tree of the values, in the order of its leaves, with the holes where they were."""
    remaining = iter(values)
    return treedef.unflatten([leaf if is_hole(leaf) else next(remaining) for _, leaf in named])


def like(tree: Any, leaves: Sequence[Any]) -> Any:
    """A tree of the same structure with other leaves; holes are no leaves."""
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def zeros_of(params: Any, *, wide: bool = False) -> Any:
    """A tree of zeros like one of which no more than shapes and dtypes may be known.

    States hold what is shaped like the parameters as such a tree: ``optax.tree.map_params`` then
    finds it, for those who place optimizer states on a mesh.

    Args:
      params: the tree.
      wide: whether in the dtype of sums over examples, instead of the tree's own.

    >>> zeros_of({"w": jnp.ones(2, jnp.bfloat16)}, wide=True)
    {'w': Array([0., 0.], dtype=float32)}
    """

    def zeros(leaf):
        zero = jnp.zeros_like(leaf, dtype=jnp.result_type(leaf))
        return jnp.zeros_like(zero, dtype=accumulation_dtype(zero)) if wide else zero

    return jax.tree.map(zeros, params)


def scalar(dtype: Any = jnp.float32) -> jax.Array:
    """A zero of its own: a state that holds one buffer twice cannot be donated."""
    return jnp.zeros((), dtype)


def check_real(what: str, named: list[tuple[str, Any]]) -> None:
    """Raise if a leaf is complex: up and down, which all tests ask about, are not defined there."""
    for path, leaf in named:
        if not is_hole(leaf) and jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating):
            raise TypeError(
                f"{what} at {path!r} are complex ({jnp.result_type(leaf)}): tests are defined for "
                "real parameters; hold real and imaginary parts as two real arrays."
            )


def check_updates(updates: Any, params: Any) -> None:
    """Raise unless updates are shaped like parameters; where those are unknown, all may be well."""
    if params is None:
        return
    named, treedef = leaf_paths(updates)
    for (path, update), param in zip(named, treedef.flatten_up_to(params), strict=True):
        if not is_hole(update) and jnp.shape(update) != jnp.shape(param):
            raise ValueError(
                f"updates at {path!r} have shape {jnp.shape(update)}, the parameters "
                f"{jnp.shape(param)}: give one update, such as a mean gradient. Per-example "
                "gradients go in as evidence, under their constraint's name."
            )


def evidence_of(name: str, given: Mapping[str, Any], updates: Any, needs: str) -> Evidence:
    """The evidence of one constraint among the extra arguments of ``update``.

    Raises:
      TypeError: if it is missing; and whatever ``read_evidence`` raises.
    """
    if needs == "nothing":
        return Evidence((), (), 0)
    if given.get(name) is None:
        raise TypeError(
            f"update() is missing the evidence {name!r}: pass {name}=..., a GradientMoments or a "
            "tree of per-example gradients (every leaf (B, *param.shape))."
        )
    return read_evidence(name, given[name], updates, needs)


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
      ValueError: if a leaf is missing or has the wrong shape, or leaves disagree about ``B``.
      TypeError: if a leaf is not of a real floating dtype, or moments are given where per-example
        gradients are needed.

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
        mean = _matching_leaves(name, "a GradientMoments' mean", given.mean, updates)
        variance = _matching_leaves(name, "a GradientMoments' variance", given.variance, updates)
        return Evidence(_wide(mean), _wide(variance), given.count)
    stacks = _matching_leaves(name, "per-example gradients", given, updates, stacked=True)
    sizes = [stack.shape[0] for stack in stacks]
    if len(set(sizes)) > 1:
        raise ValueError(
            f"evidence {name!r} has different numbers of examples on its leaves: {sizes}; give the "
            "gradients of the same examples for every parameter."
        )
    if needs == "per_example" or not stacks:
        return Evidence((), (), sizes[0] if sizes else 0, tuple(stacks))
    moments = moments_from_per_example(tuple(stacks))
    return Evidence(moments.mean, moments.variance, moments.count)


def _wide(leaves: list[jax.Array]) -> tuple[jax.Array, ...]:
    return tuple(leaf.astype(accumulation_dtype(leaf)) for leaf in leaves)


def _matching_leaves(
    name: str, kind: str, tree: Any, updates: Any, *, stacked: bool = False
) -> list[jax.Array]:
    named, treedef = leaf_paths(updates)
    try:
        places = treedef.flatten_up_to(tree)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"evidence {name!r} ({kind}) has structure {jax.tree.structure(tree)}, the updates "
            f"{treedef}: give one array a parameter."
        ) from error
    leaves = []
    for (path, update), place in zip(named, places, strict=True):
        if is_hole(update):
            continue
        where = f"evidence {name!r} ({kind}) at {path!r}"
        want = jnp.shape(update)
        leaf = jnp.asarray(place) if jax.tree_util.all_leaves([place]) else None
        if leaf is None or leaf.ndim != len(want) + stacked or leaf.shape[stacked:] != want:
            have = f"shape {leaf.shape}" if leaf is not None else jax.tree.structure(place)
            give = f"(B, {', '.join(map(str, want))})" if stacked else f"{want}"
            raise ValueError(f"{where} has {have}, the update shape {want}: give shape {give}.")
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"{where} has dtype {leaf.dtype}: give real floating gradients.")
        leaves.append(leaf)
    return leaves
