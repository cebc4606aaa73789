"""Going back to the look at which the forget error was nearest to the one wanted."""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from numbers import Real
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from feasible_jax.unlearning.fingerprint import fingerprint
from feasible_jax.unlearning.host import to_host
from feasible_jax.unlearning.step import LoopState

_BATCH = 250


class Look(NamedTuple):
    """A run at one of its looks.

    Attributes:
      step: number of steps taken.
      error: the forget error then, exactly, so that two are equal or they are not.
      params: the parameters, in the memory of the host.
      opt_state: the state of the optimizer and of the feasibility transformation, likewise.
    """

    step: int
    error: Fraction
    params: Any
    opt_state: Any


class Rewind:
    """Says which looks at a run to keep, and to which of them to go back.

    Where the error wanted is a number, the nearest look so far is all there is to keep. Where it is
    that of the last model on held-out examples, it is known at the end alone: till then one look is
    kept for each forget error that occurred. Of looks that are equally near, the latest counts: a
    run goes back no further than it must.

    Args:
      wanted: the error, a share in [0, 1]; or the held-out examples, pairs ``(inputs, labels)``.
      predict_fn: ``(params, inputs) -> (B, num_classes)`` logits.
      forget: the forget set, pairs ``(inputs, labels)``; like the held-out examples it is copied to
        the memory of the host, of every host where there are several.

    Raises:
      ValueError: if the error is no share, the examples are none or no pairs or unlike those of the
        forget set, there is no ``predict_fn``, or the forget set holds no pairs.

    >>> from feasible_jax.unlearning.step import first_state
    >>> forget = (jnp.eye(2), jnp.array([0, 1]))
    >>> rewind, looks = Rewind(0.5, lambda params, inputs: inputs @ params, forget), ()
    >>> for params in (jnp.eye(2), jnp.array([[1.0, 0.0], [1.0, 0.0]]), -jnp.eye(2)):
    ...     looks = rewind.look(looks, first_state(params, (), jax.random.key(0)))
    >>> looks[0].params.tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """

    def __init__(self, wanted: Any, predict_fn: Callable | None, forget: Any):
        self._wanted = None if isinstance(wanted, tuple) else _share(wanted)
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
        self._held_out = None
        if self._wanted is None:
            _check_held_out(wanted, forget)
            self._held_out = _on_host(wanted)
        self._predict_fn = predict_fn
        self._error = partial(error_of, predict_fn)
        self._forget = _on_host(forget)

    def check(self, params: Any) -> None:
        """Raise now what measuring an error would raise after a chunk, or at the very end."""
        held_out = [] if self._held_out is None else [self._held_out]
        for inputs, labels in (self._forget, *held_out):
            jax.eval_shape(partial(_wrong, self._predict_fn), params, inputs[:1], labels[:1])

    def look(self, looks: tuple[Look, ...], state: LoopState) -> tuple[Look, ...]:
        """The looks to keep, now that the run has come to this state."""
        error = self._error(state.params, self._forget)
        if self._wanted is not None:
            nearer = [abs(old.error - self._wanted) < abs(error - self._wanted) for old in looks]
            if any(nearer):
                return looks
            looks = ()
        params, opt_state = to_host((state.params, state.opt_state))
        now = Look(int(state.step), error, params, opt_state)
        return (*(old for old in looks if old.error != error), now)

    def chosen(self, looks: tuple[Look, ...], params: Any) -> tuple[Look, ...]:
        """The one look to go back to, of a run that has ended with these parameters."""
        if len(looks) < 2:
            return looks
        wanted = self._wanted
        if wanted is None:
            wanted = self._error(params, self._held_out)
        return (min(looks, key=lambda look: (abs(look.error - wanted), -look.step)),)

    def settings(self) -> dict[str, Any]:
        """What is wanted, fit for JSON."""
        if self._wanted is not None:
            return {"rewind_to": float(self._wanted)}
        return {"the digest of the held-out examples": fingerprint(self._held_out)}


def error_of(predict_fn: Callable, params: Any, examples: Any) -> Fraction:
    """The share of examples whose label has not the largest logit.

    Args:
      predict_fn: ``(params, inputs) -> (B, num_classes)`` logits.
      params: the parameters.
      examples: a pair of arrays, inputs ``(N, ...)`` and labels ``(N,)``.

    Returns:
      A number in [0, 1], exact.

    >>> error_of(lambda w, x: x * w, 1.0, (jnp.eye(4), jnp.array([0, 1, 2, 0])))
    Fraction(1, 4)
    """
    inputs, labels = examples
    wrong = sum(
        int(
            _wrong(
                predict_fn, params, inputs[start : start + _BATCH], labels[start : start + _BATCH]
            )
        )
        for start in range(0, len(labels), _BATCH)
    )
    return Fraction(wrong, len(labels))


@partial(jax.jit, static_argnums=0)
def _wrong(predict_fn, params, inputs, labels) -> jax.Array:
    likeliest = jnp.argmax(predict_fn(params, inputs), axis=-1)
    return jnp.sum(likeliest != labels.astype(likeliest.dtype))


def _share(wanted: Any) -> Fraction:
    is_number = isinstance(wanted, Real) or (isinstance(wanted, jax.Array) and wanted.ndim == 0)
    if not is_number or not 0 <= float(wanted) <= 1:
        raise ValueError(
            f"rewind_to={wanted!r}: give an error of the forget set in [0, 1], or held-out "
            "examples, a pair (inputs, integer labels)."
        )
    return Fraction(str(wanted + 0))  # the number that was written: 0.1 is a tenth


def _on_host(examples: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays whole, so that they meet parameters wherever those lie."""

    def whole(leaf):
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
            return np.asarray(leaf)
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))

    inputs, labels = map(whole, examples)
    return inputs, labels


def _check_held_out(examples: Any, forget: Any) -> None:
    if not _are_pairs(examples):
        raise ValueError(
            "rewind_to: held-out examples are a pair (inputs, integer labels), such as fj.Examples."
        )
    inputs, labels = examples
    if not len(labels) or inputs.shape[:1] != labels.shape:
        raise ValueError(
            f"rewind_to: held-out inputs have shape {inputs.shape}, labels {labels.shape}: give "
            "one label an input, and at least one."
        )
    if inputs.shape[1:] != forget[0].shape[1:]:
        raise ValueError(
            f"rewind_to: a held-out input has shape {inputs.shape[1:]}, one of the forget set "
            f"{forget[0].shape[1:]}: they must be alike."
        )


def _are_pairs(examples: Any) -> bool:
    if not isinstance(examples, tuple) or len(examples) != 2:
        return False
    inputs, labels = examples
    if not hasattr(inputs, "shape") or not hasattr(labels, "shape"):
        return False
    return labels.ndim == 1 and jnp.issubdtype(labels.dtype, jnp.integer)
