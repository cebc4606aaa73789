"""Going back to the look at which the forget error was nearest to the one wanted."""

from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.unlearning.step import LoopState

_BATCH = 250


class Rewind:
    """Looks at a run and keeps the state whose forget error is nearest to the one wanted.

    Of states that are equally near it keeps the latest: it goes back no further than it must.

    Args:
      wanted: the error, a share in [0, 1].
      predict_fn: ``(params, inputs) -> (B, num_classes)`` logits.
      forget: the forget set, pairs ``(inputs, labels)``.

    Raises:
      ValueError: if the error is no share, there is no ``predict_fn``, or the set holds no pairs.

    >>> from feasible_jax.unlearning.step import first_state
    >>> forget = (jnp.eye(2), jnp.array([0, 1]))
    >>> rewind = Rewind(0.5, lambda params, inputs: inputs @ params, forget)
    >>> for params in (jnp.eye(2), jnp.array([[1.0, 0.0], [1.0, 0.0]]), -jnp.eye(2)):
    ...     rewind.look(first_state(params, (), jax.random.key(0)))
    >>> rewind.nearest.params.tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """

    def __init__(self, wanted: float, predict_fn: Callable | None, forget: Any):
        if not isinstance(wanted, (Real, jax.Array)) or not 0 <= wanted <= 1:
            raise ValueError(f"rewind_to={wanted!r}: give an error of the forget set in [0, 1].")
        if predict_fn is None:
            raise ValueError(
                "rewind_to measures the error of the forget set: pass "
                "predict_fn=(params, inputs) -> (B, num_classes)."
            )
        if not _are_pairs(forget):
            raise ValueError(
                "rewind_to needs a forget set of pairs (inputs, integer labels), such as "
                "fj.Examples: with others, keep the parameters you want in on_chunk."
            )
        self._wanted = float(wanted)
        self._error = partial(forget_error, predict_fn, forget=forget)
        self._gap = np.inf
        self.nearest: LoopState | None = None

    def look(self, state: LoopState) -> None:
        """Keep this state if none so far was nearer."""
        gap = abs(self._error(state.params) - self._wanted)
        if gap <= self._gap:
            self._gap, self.nearest = gap, state


def forget_error(predict_fn: Callable, params: Any, forget: Any) -> float:
    """The share of examples whose label has not the largest logit.

    Args:
      predict_fn: ``(params, inputs) -> (B, num_classes)`` logits.
      params: the parameters.
      forget: a pair of arrays, inputs ``(N, ...)`` and labels ``(N,)``.

    Returns:
      A number in [0, 1].

    >>> forget_error(lambda w, x: x * w, 1.0, (jnp.eye(4), jnp.array([0, 1, 2, 0])))
    0.25
    """
    inputs, labels = forget
    wrong = sum(
        int(
            _wrong(
                predict_fn, params, inputs[start : start + _BATCH], labels[start : start + _BATCH]
            )
        )
        for start in range(0, len(labels), _BATCH)
    )
    return wrong / len(labels)


@partial(jax.jit, static_argnums=0)
def _wrong(predict_fn, params, inputs, labels) -> jax.Array:
    return jnp.sum(jnp.argmax(predict_fn(params, inputs), axis=-1) != labels)


def _are_pairs(examples: Any) -> bool:
    if not isinstance(examples, tuple) or len(examples) != 2:
        return False
    inputs, labels = examples
    if not hasattr(inputs, "shape") or not hasattr(labels, "shape"):
        return False
    return labels.ndim == 1 and jnp.issubdtype(labels.dtype, jnp.integer)
