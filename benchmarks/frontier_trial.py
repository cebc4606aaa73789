"""One run of one arm: until the forget accuracy is the retrained model's, or the steps are over."""

import math
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
from frontier_arms import (
    Setting,
    learning_rate,
    make_base_method,
    make_feasibility,
    make_optimizer,
)
from scipy.stats import ks_2samp

import feasible_jax as fj
from feasible_jax.evaluation import cross_entropy, evaluate, predict
from feasible_jax.evaluation.accuracies import accuracy
from feasible_jax.unlearning.task import Task

# Half a point: three of 600 examples.
TOLERANCE = 0.5


class Look(NamedTuple):
    """Accuracies in percent after some steps."""

    step: int
    forget: float
    retain: float
    validation: float


class Trial(NamedTuple):
    """What a run came to.

    Attributes:
      reached: whether the forget accuracy came down to the target.
      finite: whether the model at the end still has finite logits; one that has not is no answer,
        whatever its accuracy.
      looks: all looks.
      params: the parameters at the end.
      history: of the run.
      stop: why it ended early, or None.
    """

    reached: bool
    finite: bool
    looks: list[Look]
    params: Any
    history: fj.History
    stop: str | None

    def score(self, target: float) -> float:
        """What the search maximises: validation accuracy, less the points above the target.

        A point of forgetting that is missing weighs as much as one of utility that is lost, so that
        no setting is preferred for having forgotten everything at once.
        """
        if not self.finite:
            return -math.inf
        last = self.looks[-1]
        return last.validation - max(last.forget - target - TOLERANCE, 0)


def run_trial(
    task: Task, target: float, method: str, arm: str, setting: Setting, density: float, limits, seed
) -> Trial:
    """Run an arm until the forget accuracy is at most ``target``, in percent."""
    looks = [Look(0, *_accuracies(task, task.params))]

    def look(step: int, params: Any) -> bool:
        # The forget set is small, and ascent falls off a cliff: it is looked at often.
        if step % limits.look_every == 0:
            looks.append(Look(step, *_accuracies(task, params)))
        return _accuracy_on(task, task.forget, params) <= target + TOLERANCE

    result = _unlearn(
        task, method, arm, setting, density, limits, steps=limits.steps, key=seed,
        chunk_size=limits.check_every, on_chunk=look,
    )  # fmt: skip
    last = Look(len(result.history.kept), *_accuracies(task, result.params))
    if last.step != looks[-1].step:
        looks.append(last)
    stop = None if result.stop is None else result.stop.reason
    logits = predict(task.predict_fn, result.params, task.validation).logits
    finite = bool(np.isfinite(logits).all())
    reached = finite and last.forget <= target + TOLERANCE
    return Trial(reached, finite, looks, result.params, result.history, stop)


def step_seconds(
    task: Task, method: str, arm: str, setting: Setting, density: float, limits
) -> float:
    """Seconds of one step: what a longer run takes more than one that is over after the warm-up."""

    def run(steps: int) -> float:
        begin = time.perf_counter()
        _unlearn(
            task, method, arm, setting, density, limits, steps=steps, key=0, patience=None,
            chunk_size=1,
        )  # fmt: skip
        return time.perf_counter() - begin

    few = limits.warmup_steps + 1
    run(few)
    return (run(few + limits.look_every) - run(few)) / limits.look_every


def _unlearn(
    task: Task, method: str, arm: str, setting: Setting, density: float, limits, **options
):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # noted in the stop instead
        return fj.unlearn(
            task.loss_fn,
            task.params,
            forget=task.forget,
            retain=task.retain,
            method=make_base_method(method, task.num_classes, setting),
            optimizer=make_optimizer(setting, limits.warmup_steps),
            feasibility=make_feasibility(arm, setting, density, limits.warmup_steps),
            hyperparams={"learning_rate": learning_rate(method, arm, setting)},
            batch_size=limits.batch_size,
            predict_fn=task.predict_fn,
            progress=False,
            **options,
        )


def final_row(task: Task, params: Any, reference: np.ndarray | None) -> dict[str, Any]:
    """Every yardstick of a model, and how far its forget losses are from the retrained model's."""
    row = dict(evaluate(task, params))
    losses = forget_losses(task, params)
    row["forget_loss_ks"] = (
        None if reference is None else float(ks_2samp(losses, reference).statistic)
    )
    return row


def forget_losses(task: Task, params: Any) -> np.ndarray:
    """The loss of every forget example, infinite ones cut off."""
    losses = np.asarray(cross_entropy(predict(task.predict_fn, params, task.forget)))
    return np.nan_to_num(losses, nan=1e9, posinf=1e9)


def _accuracies(task: Task, params: Any) -> tuple[float, float, float]:
    sets = (task.forget, task.retain, task.validation)
    return tuple(_accuracy_on(task, examples, params) for examples in sets)


def _accuracy_on(task: Task, examples: fj.Examples, params: Any) -> float:
    # Small batches stay in the cache: looks took as long as the steps between them.
    return accuracy(predict(task.predict_fn, params, examples, batch_size=100))
