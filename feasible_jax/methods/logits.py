"""The logits of one example."""

from typing import Any

import jax

from feasible_jax.methods.method import Problem


def logits_of(problem: Problem, params: Any, inputs: jax.Array) -> jax.Array:
    """The logits ``(C,)`` of one example, from a ``predict_fn`` that takes a batch of them.

    Args:
      problem: with a ``predict_fn``.
      params: the parameters to predict with.
      inputs: of ONE example.

    Returns:
      ``(C,)``.

    Raises:
      ValueError: if the caller gave no ``predict_fn``, or it does not return ``(B, C)``.

    >>> import jax.numpy as jnp
    >>> problem = Problem(None, lambda params, inputs: inputs * params, None)
    >>> logits_of(problem, 2.0, jnp.array([1.0, 3.0])).tolist()
    [2.0, 6.0]
    """
    if problem.predict_fn is None:
        raise ValueError(
            "this method looks at logits: pass predict_fn=(params, inputs) -> (B, num_classes)."
        )
    logits = problem.predict_fn(params, inputs[None])
    if logits.ndim != 2 or len(logits) != 1:
        raise ValueError(
            f"predict_fn returned shape {logits.shape} for inputs of shape {inputs[None].shape}: "
            "return logits of shape (1, num_classes)."
        )
    return logits[0]
