"""Boundary shrink: give the forget set to its nearest neighbours among the wrong classes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.methods.divergences import cross_entropy
from feasible_jax.methods.labels import inputs_of_pair, label_of_pair
from feasible_jax.methods.logits import logits_of
from feasible_jax.methods.method import Method, Objective, Prepared, Problem


def boundary_shrink(
    eps: float = 0.1,
    inputs_of: Callable[[Any], jax.Array] = inputs_of_pair,
    label_of: Callable[[Any], jax.Array] = label_of_pair,
    batch_size: int = 64,
) -> Method:
    """Minimise ``mean CE(forget, y')``, where ``y'`` is the wrong class nearest to each example.

    Boundary shrink of Chen et al., *Boundary Unlearning* (CVPR 2023). The nearest wrong class is
    found once for each forget example, by one fast gradient sign step on the original model::

        x' = x + eps sign(grad_x CE(original(x), y)),    y' = argmax over c != y of original(x')_c

    It sees no retain example: utility is in the learning rate and the number of steps. It needs
    ``predict_fn``. The original takes the argmax over all classes, and so the true one wherever
    the step does not leave its region.

    Args:
      eps: length of the step in each input coordinate, > 0, in the units of the inputs.
      inputs_of: how to read an example's inputs, of floating point; for pairs ``(inputs, label)``
        by default.
      label_of: how to read its label.
      batch_size: examples at a time in the search for the nearest class.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if eps is not positive; when the run begins, if the inputs are no floats.

    >>> boundary_shrink().weights
    (1.0,)
    """
    if not eps > 0:
        raise ValueError(f"eps={eps}: give a number above 0.")

    def nearest_wrong_class(problem: Problem, example):
        inputs, label = inputs_of(example), label_of(example)
        if not jnp.issubdtype(inputs.dtype, jnp.floating):
            raise ValueError(
                f"boundary shrink moves inputs along a gradient, but they are {inputs.dtype}: "
                "convert them to floats."
            )

        def loss(inputs):
            return cross_entropy(logits_of(problem, problem.original_params, inputs), label)

        moved = inputs + eps * jnp.sign(jax.grad(loss)(inputs))
        logits = logits_of(problem, problem.original_params, moved)
        is_label = jnp.arange(len(logits)) == label
        return jnp.argmax(jnp.where(is_label, -jnp.inf, logits))

    def prepare(problem: Problem, data, key):
        del key
        find = partial(nearest_wrong_class, problem)
        return Prepared(beside={"forget": jax.lax.map(find, data["forget"], batch_size=batch_size)})

    def loss(problem: Problem, params, example, key):
        del key
        return cross_entropy(logits_of(problem, params, inputs_of(example)), problem.beside)

    objectives = (Objective("forget, nearest wrong class", "forget", loss),)
    return Method("boundary shrink", objectives, (1.0,), prepare=prepare)
