"""SCRUB: away from the original on the forget set, back to it on the retain set, in turn."""

from collections.abc import Callable
from typing import Any

import jax

from feasible_jax.methods.divergences import kl_divergence
from feasible_jax.methods.labels import inputs_of_pair
from feasible_jax.methods.logits import logits_of
from feasible_jax.methods.method import Method, Objective, Problem


def scrub(
    alpha: float = 0.5,
    gamma: float = 1.0,
    temperature: float = 2.0,
    min_steps: int = 4,
    max_steps: int = 1,
    max_until: float = 0.5,
    inputs_of: Callable[[Any], jax.Array] = inputs_of_pair,
) -> Method:
    """Alternate steps that maximise a divergence on forget with steps that repair retain.

    SCRUB of Kurmanji et al. (NeurIPS 2023). The original model is the teacher, and::

        min step: minimise  gamma mean CE(retain) + alpha mean KL_T(original || student) on retain
        max step: maximise  mean KL_T(original || student) on forget

    with ``KL_T = T^2 KL(softmax(teacher / T) || softmax(student / T))``. Rounds of ``min_steps``
    and then ``max_steps`` follow each other; after the share ``max_until`` of the run there are
    min steps alone, which win back what the ascent destroyed. It needs ``predict_fn``.

    The original alternates epochs over the sets, the max epoch first and in 3 epochs of 10, by
    Adam. Here a round begins with min steps: where student and teacher are still the same, the
    gradient of their divergence is exactly zero.

    ``scrub_r`` is this method with a run that goes back at its end.

    Args:
      alpha: weight of the divergence in min steps, >= 0.
      gamma: weight of the cross-entropy in min steps, >= 0.
      temperature: ``T``, > 0.
      min_steps: min steps a round, at least 1.
      max_steps: max steps a round, at least 1.
      max_until: share of the run in which there are max steps, in [0, 1].
      inputs_of: how to read an example's inputs; for pairs ``(inputs, label)`` by default.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if a number lies outside its range.

    >>> method = scrub(min_steps=2, max_steps=1, max_until=0.5)
    >>> [int(method.schedule(step, step / 9)) for step in range(9)]
    [0, 0, 1, 0, 0, 0, 0, 0, 0]
    """
    _check(alpha, gamma, temperature, min_steps, max_steps, max_until)

    def divergence(problem: Problem, params, example, key):
        del key
        inputs = inputs_of(example)
        target = logits_of(problem, problem.original_params, inputs)
        return kl_divergence(target, logits_of(problem, params, inputs), temperature)

    def schedule(step, progress):
        in_max = step % (min_steps + max_steps) >= min_steps
        return in_max & (progress < max_until)

    objectives = (
        Objective("retain", "retain"),
        Objective("retain, to original", "retain", divergence),
        Objective("forget, to original", "forget", divergence),
    )
    repair = ("retain", "retain, to original")
    return Method(
        "SCRUB", objectives, (gamma, alpha, -1.0),
        phases=(repair, ("forget, to original",)), schedule=schedule,
    )  # fmt: skip


def _check(alpha, gamma, temperature, min_steps, max_steps, max_until) -> None:
    for name, value in (("alpha", alpha), ("gamma", gamma)):
        if not value >= 0:
            raise ValueError(f"{name}={value}: give a number >= 0.")
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: give a number above 0.")
    for name, value in (("min_steps", min_steps), ("max_steps", max_steps)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}: give a whole number of at least 1.")
    if not 0 <= max_until <= 1:
        raise ValueError(f"max_until={max_until}: give a share in [0, 1].")
