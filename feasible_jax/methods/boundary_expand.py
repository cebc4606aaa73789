"""Boundary expand: give the forget set to a class that does not exist."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.methods.divergences import cross_entropy
from feasible_jax.methods.labels import inputs_of_pair
from feasible_jax.methods.layers import Layers, check_layers, in_layers
from feasible_jax.methods.logits import logits_of
from feasible_jax.methods.method import Method, Objective, Prepared, Problem
from feasible_jax.methods.random_params import redrawn


def boundary_expand(
    head: Layers = 1, inputs_of: Callable[[Any], jax.Array] = inputs_of_pair
) -> Method:
    """Minimise ``mean CE((z, s), C + 1)`` on forget: the answer is a shadow class ``C + 1``.

    Boundary expand of Chen et al., *Boundary Unlearning* (CVPR 2023): to the logits ``z`` of the
    ``C`` classes comes the logit ``s`` of a neuron that exists during unlearning alone, and the
    loss of a forget example is ``log(sum_c exp z_c + exp s) - s``. It sees no retain example, and
    needs ``predict_fn``.

    In the paper the shadow neuron is a row added to the last layer, trained with it and then cut
    off. Here parameters keep their shapes, for any model, and the neuron is none of them. The
    gradients of this loss in the logits sum to zero, so that gradient descent, with momentum or
    without, gives a shadow row what it takes from all the others together, and the neuron is known
    from the head as it is and as it was::

        w_s(t) = w_s(0) + sum_c (w_c(0) - w_c(t))

    with ``w_s(0)`` drawn at random at the scale of the others. It departs from the paper where
    that sum does not hold: under Adam, weight decay or a mask of updates, under which a shadow row
    would have moved otherwise, and for heads that are not linear.

    Args:
      head: how many of the last layers are the head, or their paths, as in ``("head",)``.
      inputs_of: how to read an example's inputs; for pairs ``(inputs, label)`` by default.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if ``head`` is neither; when the run begins, if the model has fewer layers, or
        none of that path.

    >>> boundary_expand().weights
    (1.0,)
    """
    check_layers(head)

    def prepare(problem: Problem, data, key):
        original = problem.original_params
        chosen = in_layers(head, problem.loss_fn, original, data["forget"])
        drawn = redrawn(original, key)
        # Of the other leaves nothing is kept but their places in the tree.
        return Prepared(extras=jax.tree.map(lambda c, d: d if c else jnp.zeros(0), chosen, drawn))

    def loss(problem: Problem, params, example, key):
        del key
        inputs = inputs_of(example)

        def under(heads):
            """The logits of the layers as they are under another head, which is not trained."""
            mixed = jax.tree.map(
                lambda drawn, own, other: other if drawn.shape == own.shape else own,
                problem.extras, params, jax.lax.stop_gradient(heads),
            )  # fmt: skip
            return logits_of(problem, mixed, inputs)

        given = jnp.sum(under(problem.original_params) - under(params), keepdims=True)
        shadow = under(problem.extras)[:1] + given
        logits = jnp.concatenate([logits_of(problem, params, inputs), shadow])
        return cross_entropy(logits, jnp.array(len(logits) - 1))

    objectives = (Objective("forget, shadow class", "forget", loss),)
    return Method("boundary expand", objectives, (1.0,), prepare=prepare)
