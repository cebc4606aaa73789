"""SalUn: random labels, on the weights that the forget set is most sensitive to."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.methods.labels import label_of_pair, relabel_pair
from feasible_jax.methods.method import Method, Prepared, Problem
from feasible_jax.methods.random_labels import random_labels
from feasible_jax.methods.whole_set import summed_gradient


def salun(
    num_classes: int,
    density: float = 0.5,
    label_of: Callable[[Any], jax.Array] = label_of_pair,
    relabel: Callable[[Any, jax.Array], Any] = relabel_pair,
) -> Method:
    """Random labels under a saliency mask: only the weights most salient for the forget set move.

    SalUn of Fan et al. (ICLR 2024). Before the first step, coordinate ``i`` is ranked by
    ``|sum_n d/dtheta_i CE(forget_n)|`` at the original parameters, over all leaves together, and
    the upper share is kept: ``mean CE(forget, y) + mean CE(retain)`` with wrong labels ``y`` drawn
    at each step is then minimised over those coordinates alone. Gradients are summed before the
    absolute value is taken: sums of absolute values would rank noise. Neither momentum nor weight
    decay reaches a coordinate outside the mask.

    Where the original draws labels from all classes, the true one among them, here they are always
    wrong.

    Args:
      num_classes: the number of classes, at least 2.
      density: the share of the coordinates to keep, in (0, 1]; rounded to whole coordinates, at
        least one. Ties go to the earlier leaf.
      label_of: how to read an example's label; for pairs ``(inputs, label)`` by default.
      relabel: how to replace it, ``(example, label) -> example``.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if there are fewer than two classes, or the density lies outside (0, 1].

    >>> salun(10, density=0.3).name
    'SalUn'
    """
    if not 0 < density <= 1:
        raise ValueError(f"density={density}: give a share in (0, 1].")

    def prepare(problem: Problem, data, key):
        del key
        gradient = summed_gradient(problem.loss_fn, problem.original_params, data["forget"])
        return Prepared(mask=_largest(gradient, density))

    method = random_labels(num_classes, label_of, relabel)
    return method._replace(name="SalUn", prepare=prepare)


def _largest(tree: Any, density: float) -> Any:
    """True for the share of all entries together that is largest in absolute value."""
    leaves, structure = jax.tree.flatten(tree)
    entries = jnp.concatenate([jnp.abs(leaf).ravel() for leaf in leaves])
    count = max(1, round(density * entries.size))
    _, kept = jax.lax.top_k(entries, count)
    mask = jnp.zeros(entries.shape, bool).at[kept].set(True)
    ends = list(itertools.accumulate(leaf.size for leaf in leaves))
    parts = jnp.split(mask, ends[:-1])
    return structure.unflatten(
        [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    )
