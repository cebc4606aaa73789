"""One run of one arm: until the forget accuracy is the retrained model's, or the steps are over."""

import math
import time
import warnings
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from frontier_arms import LEARNING_RATES, Setting, make_feasibility
from scipy.stats import ks_2samp

import feasible_jax as fj
from feasible_jax.evaluation import cross_entropy, evaluate, predict
from feasible_jax.experiments import make_method
from feasible_jax.unlearning.task import Task

# Half a point: three of 600 examples.
TOLERANCE = 0.5
_SGD = optax.inject_hyperparams(optax.sgd)(learning_rate=0.01)


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
      seconds: wall time, with compilation and looks.
      params: the parameters at the end.
      history: of the run.
      stop: why it ended early, or None.
    """

    reached: bool
    finite: bool
    looks: list[Look]
    seconds: float
    params: Any
    history: fj.History
    stop: str | None

    @property
    def score(self) -> float:
        """What the search maximises: validation accuracy, once the target is reached."""
        last = self.looks[-1]
        if not self.finite:
            return -math.inf
        return last.validation if self.reached else -last.forget


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

    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # noted in the stop instead
        result = fj.unlearn(
            task.loss_fn,
            task.params,
            forget=task.forget,
            retain=task.retain,
            method=make_method(method, task.num_classes),
            optimizer=_SGD,
            feasibility=make_feasibility(arm, setting, density),
            steps=limits.steps,
            batch_size=limits.batch_size,
            key=seed,
            hyperparams={"learning_rate": setting.rate * LEARNING_RATES[method]},
            chunk_size=limits.check_every,
            on_chunk=look,
            predict_fn=task.predict_fn,
            progress=False,
        )
    seconds = time.perf_counter() - begin
    last = Look(len(result.history.kept), *_accuracies(task, result.params))
    if last.step != looks[-1].step:
        looks.append(last)
    stop = None if result.stop is None else result.stop.reason
    logits = predict(task.predict_fn, result.params, task.validation).logits
    finite = bool(np.isfinite(logits).all())
    reached = finite and last.forget <= target + TOLERANCE
    return Trial(reached, finite, looks, seconds, result.params, result.history, stop)


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
    return 100 * float(_accuracy(task.predict_fn)(params, examples.inputs, examples.labels))


@lru_cache(maxsize=4)
def _accuracy(predict_fn):
    return jax.jit(lambda p, x, y: jnp.mean(jnp.argmax(predict_fn(p, x), axis=-1) == y))
