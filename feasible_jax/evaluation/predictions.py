"""What a model says about a set of examples: everything else in this room is computed from it."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.unlearning.task import Examples, Params, PredictFn


class Predictions(NamedTuple):
    """The logits of a set of examples, beside their labels.

    Attributes:
      logits: ``(N, num_classes)``, float32, on the host.
      labels: ``(N,)``, integers in ``[0, num_classes)``.

    >>> Predictions(np.zeros((2, 3), np.float32), np.array([0, 2])).logits.shape
    (2, 3)
    """

    logits: np.ndarray
    labels: np.ndarray


@partial(jax.jit, static_argnums=0)
def _logits(predict_fn: PredictFn, params: Params, inputs: Any) -> jax.Array:
    return predict_fn(params, inputs).astype(jnp.float32)


def predict(
    predict_fn: PredictFn, params: Params, examples: Examples, batch_size: int = 250
) -> Predictions:
    """Runs a model over examples, one batch at a time.

    Every batch is padded to ``batch_size`` and the padding dropped again, so sets of any size
    share one compilation. It is kept by the identity of ``predict_fn``: pass the same function
    each time, for a new lambda is compiled anew.

    Args:
      predict_fn: ``(params, inputs) -> (B, num_classes)`` logits; examples must not influence
        each other, so BatchNorm belongs in its inference mode.
      params: the model's parameters.
      examples: inputs ``(N, ...)`` and labels ``(N,)``.
      batch_size: examples a call of ``predict_fn``.

    Returns:
      ``Predictions`` of all N examples, in their order.

    Raises:
      ValueError: if there are no examples, inputs and labels differ in length, the batch size is
        not positive, or the logits are not ``(B, num_classes)``.

    >>> examples = Examples(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
    >>> predict(lambda params, inputs: inputs * params, 2.0, examples, batch_size=2).logits
    array([[2., 0., 0.],
           [0., 2., 0.],
           [0., 0., 2.]], dtype=float32)
    """
    inputs, labels = np.asarray(examples.inputs), np.asarray(examples.labels)
    _check_examples(inputs, labels, batch_size)
    starts = range(0, len(labels), batch_size)
    batches = [
        _predict_batch(predict_fn, params, inputs[s : s + batch_size], batch_size) for s in starts
    ]
    return Predictions(np.concatenate(batches), labels)


def _predict_batch(predict_fn, params, inputs, batch_size) -> np.ndarray:
    # A repeated example cannot produce a NaN that the real ones do not, unlike one of zeros.
    missing = batch_size - len(inputs)
    padded = (
        np.concatenate([inputs, np.repeat(inputs[-1:], missing, axis=0)]) if missing else inputs
    )
    logits = np.asarray(_logits(predict_fn, params, padded))
    if logits.ndim != 2 or len(logits) != batch_size:
        raise ValueError(
            f"predict_fn returned shape {logits.shape} for inputs of shape {padded.shape}: "
            f"return logits of shape ({batch_size}, num_classes)."
        )
    return logits[: len(inputs)]


def _check_examples(inputs, labels, batch_size) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: give at least 1.")
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(
            f"labels have shape {labels.shape}: give one label each, and at least one."
        )
    if inputs.shape[:1] != labels.shape:
        raise ValueError(
            f"inputs have shape {inputs.shape} but there are {len(labels)} labels: "
            "the leading axes must agree."
        )
