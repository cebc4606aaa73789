"""CF-k: go on training the last layers alone, and hope that they forget."""

import jax
import jax.numpy as jnp

from feasible_jax.methods.layers import Layers, check_layers, in_layers
from feasible_jax.methods.method import Method, Objective, Prepared, Problem


def cf_k(layers: Layers = 2) -> Method:
    """Minimise ``mean CE(retain)`` over the last ``k`` layers; the others stay as they are.

    Catastrophic forgetting of Goel et al., *Towards Adversarial Evaluations for Inexact Machine
    Unlearning* (2022): ``fine_tuning`` that freezes the first layers.

    A layer is what holds arrays directly, such as ``dense_1`` with its kernel and its bias, and
    layers are counted in the order in which the loss uses them, not by name.

    Args:
      layers: ``k``, how many of the last layers to train; or the paths of the layers, or of their
        parents, as in ``("head", "block_4_2")``.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if ``layers`` is neither; when the run begins, if the model has fewer layers, or
        none of that path.

    >>> cf_k(2).name
    'CF-2'
    """
    check_layers(layers)

    def prepare(problem: Problem, data, key):
        del key
        chosen = in_layers(layers, problem.loss_fn, problem.original_params, data["retain"])
        return Prepared(mask=jax.tree.map(jnp.asarray, chosen))

    name = f"CF-{layers}" if isinstance(layers, int) else "CF-k"
    return Method(name, (Objective("retain", "retain"),), (1.0,), prepare=prepare)
