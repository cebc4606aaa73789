"""EU-k: train the last layers from scratch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.methods.layers import Layers, check_layers, in_layers
from feasible_jax.methods.method import Method, Objective, Prepared, Problem
from feasible_jax.methods.random_params import redrawn


def eu_k(layers: Layers = 2, init: Callable[[jax.Array], Any] | None = None) -> Method:
    """Minimise ``mean CE(retain)`` over the last ``k`` layers, which begin at random.

    Exact unlearning of the last layers of Goel et al., *Towards Adversarial Evaluations for Inexact
    Machine Unlearning* (2022): all of these layers are drawn afresh, the others stay as they are,
    with whatever they know of the forget set.

    A layer is what holds arrays directly, such as ``dense_1`` with its kernel and its bias, and
    layers are counted in the order in which the loss uses them, not by name.

    Args:
      layers: ``k``, how many of the last layers to train; or the paths of the layers, or of their
        parents, as in ``("head", "block_4_2")``.
      init: ``(key) -> params``, the model's own initialisation, of which the last layers are
        taken. By default each of their leaves is drawn from a normal distribution with the mean
        and the standard deviation of its own entries.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if ``layers`` is neither; when the run begins, if the model has fewer layers, or
        none of that path.

    >>> eu_k(2).name
    'EU-2'
    """
    check_layers(layers)

    def prepare(problem: Problem, data, key):
        original = problem.original_params
        chosen = in_layers(layers, problem.loss_fn, original, data["retain"])
        fresh = redrawn(original, key) if init is None else init(key)
        if jax.tree.structure(fresh) != jax.tree.structure(original):
            raise ValueError(
                f"init returned parameters of another structure, {jax.tree.structure(fresh)}: "
                f"give the initialisation of the model, {jax.tree.structure(original)}."
            )
        begin = jax.tree.map(
            lambda c, new, old: new.astype(old.dtype) if c else old, chosen, fresh, original
        )
        return Prepared(params=begin, mask=jax.tree.map(jnp.asarray, chosen))

    name = f"EU-{layers}" if isinstance(layers, int) else "EU-k"
    return Method(name, (Objective("retain", "retain"),), (1.0,), prepare=prepare)
