"""Whole groups of coordinates at a time: a leaf, a row, or what the user calls a group."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.alignment import direction_aligned
from feasible_jax.feasibility.rule import Proposal, Rule, Selection, all_of, stateless
from feasible_jax.moments.precision import accumulation_dtype

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
        # Labels are structure: known when the step is compiled, jnp.arange included.
        with jax.ensure_compile_time_eval():
            labels = tuple(
                _check_label(label(path, update), path, update)
                for path, update in zip(proposal.paths, proposal.updates, strict=True)
            )
        steps = _scaled(proposal.updates)
        passes = {c.name: _passes(proposal, c, steps, labels) for c in proposal.constraints}
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


def _scaled(updates: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """The update at a size of 1: a direction's test does not depend on its length, products do."""
    dtype = accumulation_dtype(*updates)
    largest = [jnp.max(jnp.abs(u), initial=0).astype(dtype) for u in updates]
    size = jnp.max(jnp.stack(largest)) if largest else 0
    size = jnp.where((size > 0) & jnp.isfinite(size), size, 1)
    return tuple(_not_lost(u.astype(dtype) / size, jnp.sign(u).astype(dtype)) for u in updates)


def _passes(proposal: Proposal, constraint, steps, labels) -> tuple[jax.Array, ...]:
    critical = proposal.critical[constraint.name]
    stacks = proposal.evidence[constraint.name].per_example
    dtype = accumulation_dtype(*stacks, *steps)
    derivatives = [
        _derivatives(stack.astype(dtype), step.astype(dtype), label)
        for stack, step, label in zip(stacks, steps, labels, strict=True)
    ]
    shared: dict[str, jax.Array] = {}
    for label, q in zip(labels, derivatives, strict=True):
        if isinstance(label, str):
            shared[label] = shared[label] + q if label in shared else q
    passes = []
    for label, q in zip(labels, derivatives, strict=True):
        verdict = direction_aligned(
            shared[label] if isinstance(label, str) else q, constraint.sign, critical
        )
        passes.append(verdict if isinstance(label, str) else _spread(verdict, label))
    return tuple(passes)


def _derivatives(stack: jax.Array, step: jax.Array, label: str | np.ndarray) -> jax.Array:
    """Per-example directional derivatives: ``(B,)`` of the leaf, or ``(B, number of groups)``."""
    products = _not_lost(stack * step[None], jnp.sign(stack) * jnp.sign(step)[None])
    if isinstance(label, str):
        return jnp.sum(products, axis=tuple(range(1, products.ndim)))
    # Sum over the axes along which the label is constant first: most groups need nothing more.
    constant = tuple(i + 1 for i, n in enumerate(label.shape) if n == 1)
    partial = jnp.sum(products, axis=constant).reshape(stack.shape[0], label.size)
    if _in_order(label):
        return partial
    flat = jnp.asarray(label.reshape(-1))
    return jax.ops.segment_sum(partial.T, flat, int(label.max()) + 1).T


def _not_lost(product: jax.Array, sign: jax.Array) -> jax.Array:
    # A product that underflows is not a zero gradient, which would be neutral and pass.
    tiny = float(jnp.finfo(product.dtype).tiny)
    return jnp.where((product == 0) & (sign != 0), sign * tiny, product)


def _spread(verdict: jax.Array, label: np.ndarray) -> jax.Array:
    return verdict.reshape(label.shape) if _in_order(label) else verdict[label]


def _in_order(label: np.ndarray) -> bool:
    # Leaves and rows are: no scatter and no gather, which are slow and refuse explicit meshes.
    return np.array_equal(label.reshape(-1), np.arange(label.size))
