"""What a base method is: objectives, their weights, and the phases in which they act."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Weight = float | Callable[[jax.Array], Any]


class Problem(NamedTuple):
    """What an objective may look at besides the parameters it is differentiated by.

    Attributes:
      loss_fn: ``(params, example) -> scalar``, the training loss of ONE example.
      predict_fn: ``(params, inputs) -> logits``, or None where the caller has none.
      original_params: the parameters before unlearning.

    >>> Problem(lambda params, example: params * example, None, 2.0).loss_fn(3.0, 4.0)
    12.0
    """

    loss_fn: Callable[[Any, Any], jax.Array]
    predict_fn: Callable[[Any, Any], jax.Array] | None
    original_params: Any


class Objective(NamedTuple):
    """A loss averaged over one set of examples.

    Attributes:
      name: its column in the history.
      data: the set that its examples are drawn from, ``"forget"`` or ``"retain"``.
      loss: ``(problem, params, example, key) -> scalar`` for ONE example, with a random key of its
        own; None for the training loss itself, whose gradients are then shared with the test.

    >>> Objective("forget", "forget").loss is None
    True
    """

    name: str
    data: str
    loss: Callable[[Problem, Any, Any, jax.Array], jax.Array] | None = None


class Method(NamedTuple):
    """A first-order unlearning method, minimising ``sum_k weight_k objective_k + penalty``.

    Attributes:
      name: how tables call it.
      objectives: what is differentiated.
      weights: one an objective, negative for ascent; a number, or a function of the progress of
        the run, a scalar in [0, 1).
      penalty: ``(params, progress) -> scalar`` added to the objectives, or None.
      phases: names of the objectives that act together, one tuple a phase; steps cycle through the
        phases. Empty: all act at every step.

    >>> from feasible_jax.methods import gradient_ascent
    >>> gradient_ascent().weights
    (-1.0,)
    """

    name: str
    objectives: tuple[Objective, ...]
    weights: tuple[Weight, ...]
    penalty: Callable[[Any, jax.Array], jax.Array] | None = None
    phases: tuple[tuple[str, ...], ...] = ()


def check_method(method: Method) -> None:
    """Raise an error that says what is wrong with a method, if something is."""
    if not isinstance(method, Method):
        raise TypeError(f"method={method!r} is not a Method: call it, as in gradient_ascent().")
    names = [objective.name for objective in method.objectives]
    if not names or len(set(names)) != len(names):
        raise ValueError(
            f"method {method.name!r}: its objectives need different names, got {names}."
        )
    if len(method.weights) != len(names):
        raise ValueError(
            f"method {method.name!r} has {len(names)} objectives but {len(method.weights)} weights."
        )
    try:
        hash(method)
    except TypeError as error:  # a method is a key of the cache of compiled runs
        raise ValueError(
            f"method {method.name!r} holds something unhashable ({error}): make it of tuples, "
            "functions and Python numbers, not of lists or arrays."
        ) from error
    for objective in method.objectives:
        if objective.data not in ("forget", "retain"):
            raise ValueError(
                f"method {method.name!r}: objective {objective.name!r} draws from "
                f"{objective.data!r}; choose 'forget' or 'retain'."
            )
    for phase in method.phases:
        unknown = sorted(set(phase) - set(names))
        if unknown or not phase:
            raise ValueError(
                f"method {method.name!r}: phase {phase} names {unknown or 'nothing'}; "
                f"its objectives are {names}."
            )
