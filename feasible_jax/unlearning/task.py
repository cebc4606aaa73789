"""A task: the model that has to forget, the examples it has to forget, and those it must not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Params = Any
LossFn = Callable[[Params, Any], jax.Array]
PredictFn = Callable[[Params, jax.Array], jax.Array]


class Examples(NamedTuple):
    """Labelled examples, or a single one.

    Attributes:
      inputs: ``(N, ...)``, floating point; ``(...)`` for a single example.
      labels: ``(N,)``, integers in ``[0, num_classes)``; a scalar for a single example.

    >>> import numpy as np
    >>> examples = Examples(np.zeros((3, 8, 8, 1), np.float32), np.array([0, 1, 2]))
    >>> len(examples.labels)
    3
    """

    inputs: Any
    labels: Any


@dataclass(frozen=True)
class Task:
    """Everything one needs to unlearn, and to judge how it went.

    Attributes:
      name: a short name for tables and folders.
      loss_fn: ``(params, example) -> scalar``, the training loss of ONE ``Examples``.
      predict_fn: ``(params, inputs) -> (B, num_classes)`` logits of a batch of inputs.
      params: the trained parameters that have to forget.
      forget: the forget set, with the labels the model was trained on.
      retain: the rest of the training set.
      validation: unseen examples on which hyper-parameters may be chosen.
      test: unseen examples that nothing but the final table may look at.
      num_classes: the number of classes.
      retrained: parameters trained on the retain set alone, the reference of most yardsticks;
        None where nobody can afford them.
      forget_true_labels: ``(N_forget,)`` the right labels of the forget set where it was trained
        on wrong ones; None elsewhere.
      forget_validation: unseen examples distributed like the forget set, wrong labels included, for
        methods that go back to where the forget set was no harder than these; None to make them of
        the validation set.

    Raises:
      ValueError: if a set is empty, its inputs and labels differ in length, a label lies outside
        ``[0, num_classes)``, an input is not finite, or input shapes differ between the sets.

    >>> import jax.numpy as jnp, numpy as np
    >>> def predict(params, inputs):
    ...     return inputs @ params
    >>> def loss(params, example):
    ...     logits = predict(params, example.inputs)
    ...     return -jnp.log(jnp.exp(logits[example.labels]) / jnp.exp(logits).sum())
    >>> some = Examples(np.ones((4, 5), np.float32), np.array([0, 1, 2, 0]))
    >>> task = Task("toy", loss, predict, np.zeros((5, 3)), some, some, some, some, num_classes=3)
    >>> task.name
    'toy'
    """

    name: str
    loss_fn: LossFn
    predict_fn: PredictFn
    params: Params
    forget: Examples
    retain: Examples
    validation: Examples
    test: Examples
    num_classes: int
    retrained: Params | None = None
    forget_true_labels: Any | None = None
    forget_validation: Examples | None = None

    def __post_init__(self):
        sets = ["forget", "retain", "validation", "test"]
        if self.forget_validation is not None:
            sets.append("forget_validation")
        for name in sets:
            _check_examples(name, getattr(self, name), self.num_classes, self.forget)
        if self.forget_true_labels is not None and np.shape(self.forget_true_labels) != np.shape(
            self.forget.labels
        ):
            raise ValueError(
                f"forget_true_labels has shape {np.shape(self.forget_true_labels)}, forget.labels "
                f"{np.shape(self.forget.labels)}: give one label an example."
            )


def _check_examples(name: str, examples: Examples, num_classes: int, like: Examples) -> None:
    inputs, labels = np.asarray(examples.inputs), np.asarray(examples.labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{name}.labels has shape {labels.shape} and dtype {labels.dtype}: "
            "give one integer label an example."
        )
    if len(labels) == 0:
        raise ValueError(f"{name} is empty: every set of a task needs at least one example.")
    if inputs.shape[:1] != labels.shape:
        raise ValueError(
            f"{name} has inputs of shape {inputs.shape} but {len(labels)} labels: "
            "the leading axes must agree."
        )
    if inputs.shape[1:] != np.shape(like.inputs)[1:]:
        raise ValueError(
            f"{name}.inputs has shape {inputs.shape}, forget.inputs {np.shape(like.inputs)}: "
            "every example of a task must have the same shape."
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"{name}.labels run from {labels.min()} to {labels.max()}, outside [0, {num_classes}): "
            "renumber the labels or raise num_classes."
        )
    if jnp.issubdtype(inputs.dtype, jnp.inexact) and not np.isfinite(inputs).all():
        bad = int(np.argmin(np.isfinite(inputs).reshape(len(inputs), -1).all(1)))
        raise ValueError(f"{name}.inputs[{bad}] holds NaN or infinity: clean or drop that example.")
