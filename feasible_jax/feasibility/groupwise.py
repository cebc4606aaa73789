"""Whole groups of coordinates at a time: a leaf, a row, or what the user calls a group."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.alignment import direction_aligned
from feasible_jax.feasibility.rule import Proposal, Rule, Selection, all_of, stateless

Groups = str | Callable[[str, Any], Any]


def groupwise(groups: Groups = "leaf") -> Rule:
    """Keep or drop groups of coordinates together, by their joint directional derivative.

    For a group ``G`` the test is on ``q_n = sum_{i in G} g_{n,i} Delta_i`` per example:
    correlations inside the group are exact, and the sum has far more power than its coordinates.
    That needs per-example gradients as evidence; moments do not hold the correlations and are
    refused.

    Args:
      groups: ``"leaf"``, each array one group; ``"row"``, each index of an array's first axis one
        group (for a vector, each entry); or a function of ``(path, leaf)``, with a path as in
        ``"dense/kernel"``, that returns either a string, the name of the group which the whole
        leaf belongs to, shared by all leaves of that name, or an array of integers >= 0 that
        broadcasts to the leaf, the number of each coordinate's group within it.

    Returns:
      A ``Rule`` for ``feasible_updates(rule=...)``.

    Raises:
      ValueError: for an unknown name, or, at the first update, labels that do not fit their leaf.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.feasibility import feasible_updates
    >>> tx = feasible_updates(decrease=("retain",), rule=groupwise("row"))
    >>> updates = {"w": jnp.array([[-1.0, -1.0], [1.0, 1.0]])}
    >>> retain = {"w": jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.1], [1.0, 0.1]]])}
    >>> kept, state = tx.update(updates, tx.init(updates), retain=retain)
    >>> kept["w"].tolist()
    [[-1.0, -1.0], [0.0, 0.0]]
    """
    if isinstance(groups, str) and groups not in ("leaf", "row"):
        raise ValueError(f"groups={groups!r}: choose 'leaf', 'row', or a function (path, leaf).")
    label = {"leaf": _by_leaf, "row": _by_row}[groups] if isinstance(groups, str) else groups

    def select(proposal: Proposal, state: tuple) -> tuple[Selection, tuple]:
        labels = tuple(
            _check_label(label(path, update), path, update)
            for path, update in zip(proposal.paths, proposal.updates, strict=True)
        )
        passes = {c.name: _passes(proposal, c, labels) for c in proposal.constraints}
        return Selection(all_of(passes), passes), state

    return Rule("groupwise", "per_example", stateless, select)


def _by_leaf(path: str, leaf: jax.Array) -> np.ndarray:
    return np.zeros((1,) * leaf.ndim, int)


def _by_row(path: str, leaf: jax.Array) -> np.ndarray:
    rows = leaf.shape[0] if leaf.ndim else 1
    return np.arange(rows).reshape((rows,) + (1,) * (leaf.ndim - 1)) if leaf.ndim else np.array(0)


def _check_label(label: Any, path: str, leaf: jax.Array) -> str | np.ndarray:
    if isinstance(label, str):
        return label
    label = np.asarray(label)
    fits = label.ndim <= leaf.ndim and all(
        have in (1, want) for have, want in zip(label.shape[::-1], leaf.shape[::-1], strict=False)
    )
    if not np.issubdtype(label.dtype, np.integer) or not fits or (label.size and label.min() < 0):
        raise ValueError(
            f"groups gave {path!r} labels of shape {label.shape} and dtype {label.dtype}; the leaf "
            f"has shape {leaf.shape}: give a string, or integers >= 0 that broadcast to it."
        )
    return label.reshape((1,) * (leaf.ndim - label.ndim) + label.shape)


def _passes(proposal: Proposal, constraint, labels) -> tuple[jax.Array, ...]:
    critical = proposal.critical[constraint.name]
    stacks = proposal.evidence[constraint.name].per_example
    derivatives = [
        _derivatives(stack, update, label)
        for stack, update, label in zip(stacks, proposal.updates, labels, strict=True)
    ]
    shared: dict[str, jax.Array] = {}
    for label, q in zip(labels, derivatives, strict=True):
        if isinstance(label, str):
            shared[label] = shared.get(label, 0) + q
    passes = []
    for label, q in zip(labels, derivatives, strict=True):
        verdict = direction_aligned(
            shared[label] if isinstance(label, str) else q, constraint.sign, critical
        )
        passes.append(verdict if isinstance(label, str) else verdict[label])
    return tuple(passes)


def _derivatives(stack: jax.Array, update: jax.Array, label: str | np.ndarray) -> jax.Array:
    """Per-example directional derivatives: ``(B,)`` of the leaf, or ``(B, number of groups)``."""
    dtype = jnp.promote_types(stack.dtype, jnp.float32)
    products = stack.astype(dtype) * update.astype(dtype)[None]
    if isinstance(label, str):
        return jnp.sum(products, axis=tuple(range(1, products.ndim)))
    size = stack.shape[0]
    # Sum over the axes along which the label is constant first: most groups need nothing more.
    constant = tuple(i + 1 for i, n in enumerate(label.shape) if n == 1)
    partial = jnp.sum(products, axis=constant).reshape(size, -1)
    groups = int(label.max()) + 1 if label.size else 1
    segments = jax.ops.segment_sum(partial.T, jnp.asarray(label.reshape(-1)), groups)
    return segments.T
