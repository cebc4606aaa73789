"""Ensembles of models: their margins, and what every yardstick on them asks for."""

from typing import Any

import jax
import numpy as np

from feasible_jax.evaluation.per_example import label_margin
from feasible_jax.evaluation.predictions import predict
from feasible_jax.unlearning.task import Examples, PredictFn

# Beyond it every model is as good as certain; an infinite margin has no mean.
_CERTAIN = 100.0


def ensemble_margins(
    predict_fn: PredictFn, members: Any, examples: Examples, batch_size: int = 250
) -> np.ndarray:
    """The margin of every example under every model of an ensemble.

    One member after the other, by one compiled function.

    Args:
      predict_fn: ``(params, inputs) -> (B, num_classes)`` logits of one member.
      members: the parameters, every leaf with a leading axis of ``M`` models.
      examples: inputs ``(N, ...)`` and labels ``(N,)``.
      batch_size: examples a call of ``predict_fn``.

    Returns:
      ``(M, N)``, see ``label_margin``.

    Raises:
      ValueError: if the leaves do not agree in the number of models, and as ``predict`` does.

    >>> examples = Examples(np.eye(2, dtype=np.float32), np.array([0, 1]))
    >>> scales = np.array([1.0, 3.0], np.float32)
    >>> ensemble_margins(lambda scale, inputs: inputs * scale, scales, examples).tolist()
    [[1.0, 1.0], [3.0, 3.0]]
    """
    counts = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(members)}
    if len(counts) != 1 or counts == {()}:
        raise ValueError(
            f"the leaves of members have leading axes {sorted(counts)}: stack the models, so that "
            "every leaf has the same leading axis."
        )
    ((count,),) = counts
    models = (jax.tree.map(lambda leaf, i=i: leaf[i], members) for i in range(count))
    predictions = (predict(predict_fn, model, examples, batch_size) for model in models)
    return np.stack([label_margin(each) for each in predictions])


def matched_margins(
    unlearned: np.ndarray, retrained: np.ndarray, at_least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Checks two ensembles' margins and limits them to ``[-100, 100]``.

    Args:
      unlearned: ``(M, N)``, M models and N examples.
      retrained: ``(M, N)``, as many models on the same examples.
      at_least: the number of models that is needed.

    Returns:
      Both, float64 and finite.

    Raises:
      ValueError: if the shapes differ or do not suffice, or a margin is NaN.

    >>> matched_margins(np.full((2, 1), -np.inf), np.zeros((2, 1)), at_least=2)[0].tolist()
    [[-100.0], [-100.0]]
    """
    pair = [np.asarray(margins, np.float64) for margins in (unlearned, retrained)]
    shapes = [margins.shape for margins in pair]
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or 0 in shapes[0]:
        raise ValueError(
            f"unlearned has shape {shapes[0]} and retrained {shapes[1]}: give margins (models, "
            "examples), of as many models on the same examples."
        )
    if shapes[0][0] < at_least:
        raise ValueError(f"there are {shapes[0][0]} models a side: give at least {at_least}.")
    for name, margins in zip(("unlearned", "retrained"), pair, strict=True):
        if np.isnan(margins).any():
            raise ValueError(
                f"{name} of shape {margins.shape} holds {int(np.isnan(margins).sum())} NaN: "
                "label_margin() gives -inf instead."
            )
    first, second = (np.clip(margins, -_CERTAIN, _CERTAIN) for margins in pair)
    return first, second
