"""One arm's run, and the search for its learning rate, confidence and number of steps."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import optax

from feasible_jax.evaluation import utility_gap
from feasible_jax.experiments.config import SearchConfig
from feasible_jax.experiments.preparation import seconds_to_prepare
from feasible_jax.experiments.run_arm import run_arm
from feasible_jax.experiments.stopwatch import Stopwatch
from feasible_jax.methods import Method
from feasible_jax.methods.one_shot import is_one_shot
from feasible_jax.unlearning import History, Task


class Setting(NamedTuple):
    """What a search varies.

    Attributes:
      learning_rate: of SGD.
      confidence: of the tests, in (0, 1); None for arms that test nothing.
    """

    learning_rate: float
    confidence: float | None = None


class Trial(NamedTuple):
    """One run of one arm with one setting, kept at its best look.

    Attributes:
      params: the parameters at the best look.
      setting: learning rate and confidence.
      steps: steps taken up to the best look.
      gap: mean absolute difference to the retrained model over forget, retain and validation
        accuracy, in points, at the best look.
      seconds: run time up to the best look, preparation included, without compilation and without
        the looks.
      history: of the whole run.
      note: why the run ended early, or None.
    """

    params: Any
    setting: Setting
    steps: int
    gap: float
    seconds: float
    history: History
    note: str | None


def search(
    task: Task,
    reference: dict[str, float | None],
    method: Method,
    feasibility: optax.GradientTransformation | None,
    config: SearchConfig,
    settings: Sequence[Setting],
    seed: int,
    on_look: Callable[[Setting, int, float], None] | None = None,
) -> list[Trial]:
    """Try each setting for the full number of steps; look at validation data on the way.

    Every arm of a method gets as many settings, steps and looks, and none sees the test set.

    Args:
      task: what to unlearn.
      reference: the retrained model's accuracies, as from ``evaluation.evaluate``.
      method: the base method.
      feasibility: the arm's mask, None for the plain arm.
      config: steps, looks, batch size.
      settings: those to try.
      seed: of the batches.
      on_look: called with setting, steps taken and gap after each look.

    Returns:
      One ``Trial`` a setting, in that order.
    """
    trials = [
        _run(task, reference, method, feasibility, config, setting, seed, on_look)
        for setting in settings
    ]
    if _one_lap(config):
        return trials  # which has timed its preparation with the rest
    prepared = seconds_to_prepare(task, method, seed)
    return [trial._replace(seconds=trial.seconds + prepared) for trial in trials]


def search_of(method: Method, config: SearchConfig) -> SearchConfig:
    """What a search of this method varies, in as many trials as that of any other.

    A one-shot method takes one step. Its learning rate is the part of its edit that is made, so
    the rates keep their proportions, and the largest makes the whole edit.

    >>> from feasible_jax.methods import ssd
    >>> config = SearchConfig(learning_rates=(0.05, 0.1), steps=120)
    >>> (one := search_of(ssd(), config)).learning_rates, one.steps
    ((0.5, 1.0), 1)
    """
    if not is_one_shot(method):
        return config
    rates = tuple(rate / max(config.learning_rates) for rate in config.learning_rates)
    return replace(config, learning_rates=rates, steps=1, look_every=1)


def settings_of(config: SearchConfig, tests: bool) -> tuple[Setting, ...]:
    """The settings that an arm tries: one a learning rate, with the confidences in turn.

    >>> settings_of(SearchConfig(learning_rates=(0.1, 1.0, 10.0), confidences=(0.7, 0.9)), True)[1]
    Setting(learning_rate=1.0, confidence=0.9)
    """
    confidences = config.confidences if tests else (None,)
    return tuple(
        Setting(rate, confidences[i % len(confidences)])
        for i, rate in enumerate(config.learning_rates)
    )


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The trial closest to the retrained model on validation data."""
    return min(trials, key=lambda trial: trial.gap)


def _run(task, reference, method, feasibility, config, setting, seed, on_look) -> Trial:
    best: list[tuple[float, int, Any]] = []
    watch = Stopwatch()

    def look(step: int, params: Any) -> None:
        gap = utility_gap(task, params, reference)
        if not best or gap < best[0][0]:
            best[:] = [(gap, step, params)]
        if on_look is not None:
            on_look(setting, step, gap)

    run = partial(
        run_arm,
        task,
        method,
        feasibility,
        **setting._asdict(),
        steps=config.steps,
        batch_size=config.batch_size,
        seed=seed,
        look_every=config.look_every,
        progress=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # noted in the trial instead
        if _one_lap(config):
            run()  # compiles, so that the lap that is timed does not
            watch.restart()
        result = run(on_look=look, watch=watch)
    # A run that was not finite before its first look leaves the original model.
    gap, step, params = best[0] if best else (utility_gap(task, task.params, reference), 0, None)
    params = task.params if params is None else params
    per_step = watch.typical() / min(config.look_every, config.steps)
    note = result.stop.reason if result.stop is not None else None
    return Trial(params, setting, step, gap, step * per_step, result.history, note)


def _one_lap(config: SearchConfig) -> bool:
    """Whether a run is over at its first look, so that no other lap tells what compiling cost."""
    return config.steps <= config.look_every
