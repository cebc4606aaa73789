"""One method in one arm on one task: the call of ``unlearn`` that all experiments share."""

from collections.abc import Callable
from functools import cache
from typing import Any

import optax

from feasible_jax.experiments.held_out import held_out_like_forget
from feasible_jax.experiments.stopwatch import Stopwatch
from feasible_jax.methods import Method
from feasible_jax.unlearning import Task, UnlearnResult, unlearn


def run_arm(
    task: Task,
    method: Method,
    feasibility: optax.GradientTransformation | None,
    *,
    learning_rate: float,
    confidence: float | None,
    optimizer: str = "sgd",
    momentum: float = 0.0,
    steps: int,
    batch_size: int,
    seed: int,
    look_every: int,
    params: Any = None,
    on_look: Callable[[int, Any], None] | None = None,
    watch: Stopwatch | None = None,
    **options: Any,
) -> UnlearnResult:
    """Run a method, timed from look to look.

    A method that goes back at its end does so to the look whose forget error was nearest to the
    last model's on ``held_out_like_forget(task, seed)``, unless ``rewind_to`` is among the options.

    Args:
      task: what to unlearn.
      method: the base method.
      feasibility: the arm's mask, None for the plain arm.
      learning_rate: of the optimizer.
      confidence: of the tests, in (0, 1); None for arms that test nothing.
      optimizer: ``"sgd"`` or ``"adam"``.
      momentum: of SGD, in [0, 1).
      steps: number of steps.
      batch_size: examples drawn from each set at a step.
      seed: of the batches.
      look_every: steps between two looks.
      params: the model that has to forget; None for the task's own.
      on_look: called with the steps taken and the parameters at each; its time does not count.
      watch: gets a lap a look, if given.
      **options: further arguments of ``unlearn``.

    Returns:
      What ``unlearn`` returned.

    Raises:
      ValueError: if a method goes back and there are no unseen examples like the forget set.
    """
    if method.rewinds and "rewind_to" not in options:
        options["rewind_to"] = held_out_like_forget(task, seed)
    injected = {"learning_rate": learning_rate, "confidence": confidence}

    def look(step: int, params: Any) -> None:
        if watch is not None:
            watch.lap(params)
        if on_look is not None:
            on_look(step, params)
        if watch is not None:
            watch.restart()

    return unlearn(
        task.loss_fn,
        task.params if params is None else params,
        forget=task.forget,
        retain=task.retain,
        method=method,
        optimizer=_optimizer(optimizer, momentum),
        feasibility=feasibility,
        steps=steps,
        batch_size=batch_size,
        key=seed,
        hyperparams={name: value for name, value in injected.items() if value is not None},
        predict_fn=task.predict_fn,
        chunk_size=min(look_every, steps),
        on_chunk=look,
        **options,
    )


@cache
def _optimizer(name: str, momentum: float) -> optax.GradientTransformation:
    """Made once for its settings, so that every run finds its compiled step again."""
    if name == "adam":
        return optax.inject_hyperparams(optax.adam)(learning_rate=0.01)
    return optax.inject_hyperparams(optax.sgd)(learning_rate=0.01, momentum=momentum or None)
