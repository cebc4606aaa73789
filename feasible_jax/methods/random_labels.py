"""Random labels: teach the forget set wrong answers, and the retain set the right ones."""

from collections.abc import Callable
from typing import Any

import jax

from feasible_jax.methods.labels import (
    check_num_classes,
    draw_wrong_label,
    label_of_pair,
    relabel_pair,
)
from feasible_jax.methods.method import Method, Objective, Problem


def random_labels(
    num_classes: int,
    label_of: Callable[[Any], jax.Array] = label_of_pair,
    relabel: Callable[[Any, jax.Array], Any] = relabel_pair,
) -> Method:
    """Minimise ``mean CE(forget, y) + mean CE(retain)`` with wrong labels ``y`` drawn at each step.

    RL (Golatkar et al., 2020; the inner method of SalUn, Fan et al., 2024). A label is drawn
    uniformly from the classes other than the example's own: never the true one, unless the example
    carries a wrong label itself, whose right one is then among the draws. ``amnesiac`` draws them
    once.

    Args:
      num_classes: the number of classes, at least 2.
      label_of: how to read an example's label; for pairs ``(inputs, label)`` by default.
      relabel: how to replace it, ``(example, label) -> example``.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if there are fewer than two classes, so that no label is wrong.

    >>> random_labels(10).weights
    (1.0, 1.0)
    """
    check_num_classes(num_classes)

    def loss(problem: Problem, params, example, key):
        wrong = draw_wrong_label(key, label_of(example), num_classes)
        return problem.loss_fn(params, relabel(example, wrong))

    objectives = (
        Objective("forget, wrong labels", "forget", loss),
        Objective("retain", "retain"),
    )
    return Method("random labels", objectives, (1.0, 1.0))
