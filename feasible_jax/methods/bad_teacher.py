"""Bad teacher: imitate a random model on the forget set, and the original on the retain set."""

from collections.abc import Callable
from typing import Any

import jax

from feasible_jax.methods.divergences import kl_divergence
from feasible_jax.methods.labels import inputs_of_pair
from feasible_jax.methods.logits import logits_of
from feasible_jax.methods.method import Method, Objective, Prepared, Problem
from feasible_jax.methods.random_params import redrawn


def bad_teacher(
    init: Callable[[jax.Array], Any] | None = None,
    temperature: float = 1.0,
    inputs_of: Callable[[Any], jax.Array] = inputs_of_pair,
) -> Method:
    """Imitate an incompetent teacher on the forget set and the original on the retain set.

    Chundawat et al., *Can Bad Teaching Induce Forgetting?* (AAAI 2023)::

        minimise  mean KL_T(random || student) on forget + mean KL_T(original || student) on retain

    with ``KL_T = T^2 KL(softmax(teacher / T) || softmax(student / T))``, a sum over the classes.
    The incompetent teacher has random parameters, drawn once, the competent one the original
    parameters; neither is trained. Labels play no part. It needs ``predict_fn``.

    The paper draws on 30% of the retain set, mixes both sets as they come, so that each weighs by
    its size, and uses Adam at 1e-4. Here batches of both sets are drawn at each step, and their
    means weigh alike.

    Args:
      init: ``(key) -> params`` of the incompetent teacher, the model's own initialisation. By
        default each leaf is drawn from a normal distribution with the mean and the standard
        deviation of its own entries.
      temperature: ``T``, > 0.
      inputs_of: how to read an example's inputs; for pairs ``(inputs, label)`` by default.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if the temperature is not positive.

    >>> [objective.data for objective in bad_teacher().objectives]
    ['forget', 'retain']
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: give a number above 0.")

    def divergence(problem: Problem, teacher, params, example):
        inputs = inputs_of(example)
        target = logits_of(problem, teacher, inputs)
        return kl_divergence(target, logits_of(problem, params, inputs), temperature)

    def to_incompetent(problem: Problem, params, example, key):
        del key
        return divergence(problem, problem.extras, params, example)

    def to_original(problem: Problem, params, example, key):
        del key
        return divergence(problem, problem.original_params, params, example)

    def prepare(problem: Problem, data, key):
        del data
        return Prepared(extras=redrawn(problem.original_params, key) if init is None else init(key))

    objectives = (
        Objective("forget, to random teacher", "forget", to_incompetent),
        Objective("retain, to original", "retain", to_original),
    )
    return Method("bad teacher", objectives, (1.0, 1.0), prepare=prepare)
