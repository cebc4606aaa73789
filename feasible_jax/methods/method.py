"""What a base method is: what it prepares, its objectives, and how their gradients make one."""

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
      extras: what the method's own ``prepare`` left for its objectives, a tree of arrays.
      beside: the row of ``Prepared.beside`` that goes with the example that the objective sees.

    >>> Problem(lambda params, example: params * example, None, 2.0).loss_fn(3.0, 4.0)
    12.0
    """

    loss_fn: Callable[[Any, Any], jax.Array]
    predict_fn: Callable[[Any, Any], jax.Array] | None
    original_params: Any
    extras: Any = None
    beside: Any = None


class Prepared(NamedTuple):
    """What a method makes once, before its first step.

    Attributes:
      extras: a tree of arrays that its objectives find as ``problem.extras``.
      params: the parameters that the run begins with, of the original's structure, shapes and
        dtypes; None to begin with the original.
      mask: numbers or booleans shaped like the parameters, or like nothing (scalars), by which
        every update is multiplied after the optimizer, so that neither momentum nor weight decay
        slips past; None for no mask.
      beside: by the set's name, a tree of arrays with one row for each of its examples, such as a
        label of the method's own; an objective on that set finds its example's row as
        ``problem.beside``. None where nothing goes with the examples.

    >>> Prepared(extras={"teacher": 1.0}).params is None
    True
    """

    extras: Any = None
    params: Any = None
    mask: Any = None
    beside: Any = None


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
    """An unlearning method, minimising ``sum_k weight_k objective_k + penalty``.

    Attributes:
      name: how tables call it.
      objectives: what is differentiated.
      weights: one an objective, negative for ascent; a number, or a function of the progress of
        the run, a scalar in [0, 1). Empty where ``combine`` does their work.
      penalty: ``(problem, params, progress) -> scalar`` added to the objectives, or None.
      phases: names of the objectives that act together, one tuple a phase; steps cycle through the
        phases. Empty: all act at every step.
      schedule: ``(step, progress) -> index into phases``, an int32 scalar, for another order than
        a cycle; or None.
      combine: ``(gradients, losses, progress) -> gradient``, in place of a weighted sum: gradients
        and mean losses of the acting objectives by name. Or None.
      prepare: ``(problem, data, key) -> Prepared``, called once under jit before the first step,
        with the whole sets by name, ``"forget"`` and ``"retain"``; or None.
      rewinds: whether a run goes back, at its end, to the look at which the forget error was that
        of unseen examples: ``unlearn`` then asks for ``rewind_to``.

    >>> from feasible_jax.methods import gradient_ascent
    >>> gradient_ascent().weights
    (-1.0,)
    """

    name: str
    objectives: tuple[Objective, ...]
    weights: tuple[Weight, ...]
    penalty: Callable[[Problem, Any, jax.Array], jax.Array] | None = None
    phases: tuple[tuple[str, ...], ...] = ()
    schedule: Callable[[jax.Array, jax.Array], Any] | None = None
    combine: Callable[[dict[str, Any], dict[str, jax.Array], jax.Array], Any] | None = None
    prepare: Callable[[Problem, dict[str, Any], jax.Array], Prepared] | None = None
    rewinds: bool = False


def check_method(method: Method) -> None:
    """Raise an error that says what is wrong with a method, if something is."""
    if not isinstance(method, Method):
        raise TypeError(f"method={method!r} is not a Method: call it, as in gradient_ascent().")
    names = [objective.name for objective in method.objectives]
    if len(set(names)) != len(names):
        raise ValueError(
            f"method {method.name!r}: its objectives need different names, got {names}."
        )
    if not names and method.penalty is None:
        raise ValueError(f"method {method.name!r} has neither an objective nor a penalty.")
    if method.combine is not None and method.weights:
        raise ValueError(
            f"method {method.name!r} has weights and combine: leave the weights empty."
        )
    if method.combine is None and len(method.weights) != len(names):
        raise ValueError(
            f"method {method.name!r} has {len(names)} objectives but {len(method.weights)} weights."
        )
    if method.schedule is not None and not method.phases:
        raise ValueError(f"method {method.name!r} has a schedule but no phases to choose from.")
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
