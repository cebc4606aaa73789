"""Amnesiac relabelling: one wrong answer for each example of the forget set, kept for good."""

from collections.abc import Callable
from typing import Any

import jax

from feasible_jax.methods.labels import (
    check_num_classes,
    draw_wrong_label,
    label_of_pair,
    relabel_pair,
)
from feasible_jax.methods.method import Method, Objective, Prepared, Problem


def amnesiac(
    num_classes: int,
    label_of: Callable[[Any], jax.Array] = label_of_pair,
    relabel: Callable[[Any, jax.Array], Any] = relabel_pair,
) -> Method:
    """Minimise ``mean CE(forget, y) + mean CE(retain)`` with wrong labels ``y`` drawn once.

    The relabelling of Graves et al., *Amnesiac Machine Learning* (AAAI 2021), which others call
    amnesiac unlearning. Each forget example ``n`` gets one label ``y_n`` before the first step,
    uniformly from the classes other than the one that it carries, and keeps it whenever it is
    drawn: ``random_labels`` draws another one each time. The paper's other method, which subtracts
    logged updates of the training run, needs that log and is not this one.

    The two means weigh the same, whatever the sizes of the sets; where sets are joined and
    shuffled, as in the original, they weigh by size.

    Args:
      num_classes: the number of classes, at least 2.
      label_of: how to read an example's label; for pairs ``(inputs, label)`` by default.
      relabel: how to replace it, ``(example, label) -> example``.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if there are fewer than two classes, so that no label is wrong.

    >>> import jax.numpy as jnp
    >>> forget = (jnp.zeros((3, 2)), jnp.array([0, 1, 0]))
    >>> made = amnesiac(2).prepare(None, {"forget": forget}, jax.random.key(0))
    >>> made.beside["forget"].tolist()
    [1, 0, 1]
    """
    check_num_classes(num_classes)

    def loss(problem: Problem, params, example, key):
        del key
        return problem.loss_fn(params, relabel(example, problem.beside))

    def prepare(problem: Problem, data, key):
        del problem
        labels = jax.vmap(label_of)(data["forget"])
        keys = jax.random.split(key, len(labels))
        wrong = jax.vmap(lambda k, label: draw_wrong_label(k, label, num_classes))(keys, labels)
        return Prepared(beside={"forget": wrong})

    objectives = (
        Objective("forget, wrong labels", "forget", loss),
        Objective("retain", "retain"),
    )
    return Method("amnesiac", objectives, (1.0, 1.0), prepare=prepare)
