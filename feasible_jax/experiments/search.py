"""One arm's run, and the search for its learning rate, confidence and number of steps."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import optax

from feasible_jax.evaluation import UTILITY_METRICS, average_gap, utility_scores
from feasible_jax.experiments.arms import SGD_RATE, Arm, make_method, pace_of
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
      learning_rate: of the method's optimizer.
      confidence: of the tests, in (0, 1); None for arms that test nothing.
    """

    learning_rate: float
    confidence: float | None = None


class Look(NamedTuple):
    """A run at one of its looks.

    Attributes:
      step: steps taken.
      gap: mean absolute difference to the retrained model over forget, retain and validation
        accuracy, in points.
      forget: forget accuracy, in percent.
      remaining: validation accuracy of the classes that remain, in percent.
    """

    step: int
    gap: float
    forget: float
    remaining: float


class Kept(NamedTuple):
    """The look that a run is kept at.

    Attributes:
      look: what was seen.
      params: the parameters then.
      seconds: run time up to it, preparation included, without compilation and without the looks.
    """

    look: Look
    params: Any
    seconds: float = 0.0


class Trial(NamedTuple):
    """One run of one arm with one setting.

    Attributes:
      setting: learning rate and confidence.
      closest: the look closest to the retrained model; of a method that goes back, where it went.
      equal_utility: the look that has forgotten the most, of those at which the classes that remain
        have lost at most ``EQUAL_UTILITY`` points of validation accuracy; the original model, at
        step 0, is one of them.
      looks: all of them.
      history: of the whole run.
      note: why the run ended early, or None.
      step_seconds: what a step took.
      run_seconds: preparation, and as many steps as the search allows.
    """

    setting: Setting
    closest: Kept
    equal_utility: Kept
    looks: tuple[Look, ...]
    history: History
    note: str | None
    step_seconds: float = 0.0
    run_seconds: float = 0.0


# Points of accuracy that count as no loss.
EQUAL_UTILITY = 0.5


def search(
    task: Task,
    reference: dict[str, float | None],
    method: Method,
    feasibility: optax.GradientTransformation | None,
    config: SearchConfig,
    settings: Sequence[Setting],
    seed: int,
    on_look: Callable[[Setting, int, float], None] | None = None,
    optimizer: str = "sgd",
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
      optimizer: ``"sgd"`` or ``"adam"``.

    Returns:
      One ``Trial`` a setting, in that order.
    """
    original = Kept(_look(task, task.params, reference, 0), task.params)
    run = partial(run_arm, task, method, feasibility, optimizer=optimizer, seed=seed)
    trials = [
        _run(run, task, reference, original, config, setting, on_look) for setting in settings
    ]
    if _one_lap(config):
        return trials  # which has timed its preparation with the rest
    prepared = seconds_to_prepare(task, method, seed)
    return [_prepared(trial, prepared) for trial in trials]


def search_of(method: str, config: SearchConfig) -> SearchConfig:
    """What a search of a method varies, in as many trials as that of any other.

    A one-shot method takes one step. Its learning rate is the part of its edit that is made, so
    the rates keep their proportions, and the largest makes the whole edit. A method with another
    optimizer than SGD keeps them too, its own rate in the place of SGD's, see ``pace_of``.

    Args:
      method: its name, as in ``arms.METHODS``.
      config: the search of a study.

    >>> config = SearchConfig(learning_rates=(0.05, 0.1), steps=120)
    >>> (one := search_of("ssd", config)).learning_rates, one.steps
    ((0.5, 1.0), 1)
    >>> search_of("scrub", config).learning_rates
    (0.001, 0.002)
    """
    pace, rates = pace_of(method), config.learning_rates
    if is_one_shot(make_method(method, 10)):
        rates = tuple(rate / max(rates) for rate in rates)
        return replace(config, learning_rates=rates, steps=1, look_every=1)
    if pace.optimizer == "sgd":
        return config
    own = pace.learning_rate / SGD_RATE
    return replace(config, learning_rates=tuple(rate * own for rate in rates))


def settings_of(config: SearchConfig, arm: Arm) -> tuple[Setting, ...]:
    """The settings that an arm tries: one a learning rate, with the confidences in turn.

    >>> from feasible_jax.experiments.arms import ARMS
    >>> config = SearchConfig(learning_rates=(0.1, 1.0, 10.0), confidences=(0.7, 0.9))
    >>> settings_of(config, ARMS["feasible"])[1]
    Setting(learning_rate=1.0, confidence=0.9)
    """
    confidences = config.confidences if arm.tests else (None,)
    rates = 1.0 if config.steps == 1 else arm.rates  # one step is the whole edit of one shot
    return tuple(
        Setting(rates * rate, confidences[i % len(confidences)])
        for i, rate in enumerate(config.learning_rates)
    )


def closest_trial(trials: Sequence[Trial]) -> Trial:
    """The trial closest to the retrained model on validation data."""
    return min(trials, key=lambda trial: trial.closest.look.gap)


def equal_utility_trial(trials: Sequence[Trial]) -> Trial:
    """The trial that forgets the most without a loss of utility."""
    return min(trials, key=lambda trial: _forgotten(trial.equal_utility.look))


def _run(run_with, task, reference, original, config, setting, on_look) -> Trial:
    looks: list[Look] = []
    kept: dict[str, Kept] = {"equal_utility": original}
    watch = Stopwatch()

    def look(step: int, params: Any) -> None:
        now = Kept(_look(task, params, reference, step), params)
        looks.append(now.look)
        if "closest" not in kept or now.look.gap < kept["closest"].look.gap:
            kept["closest"] = now
        useful = now.look.remaining >= original.look.remaining - EQUAL_UTILITY
        if useful and _forgotten(now.look) < _forgotten(kept["equal_utility"].look):
            kept["equal_utility"] = now
        if on_look is not None:
            on_look(setting, step, now.look.gap)

    run = partial(
        run_with,
        **setting._asdict(),
        steps=config.steps,
        batch_size=config.batch_size,
        look_every=config.look_every,
        progress=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # noted in the trial instead
        if _one_lap(config):
            run()  # compiles, so that the lap that is timed does not
            watch.restart()
        result = run(on_look=look, watch=watch)
    if result.rewound_to is not None:  # the method itself says where to go back to
        back = _look(task, result.params, reference, result.rewound_to)
        kept["closest"] = Kept(back, result.params)
    # A run that was not finite before its first look leaves the original model.
    kept.setdefault("closest", original)
    per_step = watch.typical() / min(config.look_every, config.steps)
    timed = {name: k._replace(seconds=k.look.step * per_step) for name, k in kept.items()}
    if result.rewound_to is not None:  # at the end of all steps
        all_steps = len(result.history.kept) * per_step
        timed["closest"] = timed["closest"]._replace(seconds=all_steps)
    note = result.stop.reason if result.stop is not None else None
    return Trial(
        setting, **timed, looks=tuple(looks), history=result.history, note=note,
        step_seconds=per_step, run_seconds=config.steps * per_step,
    )  # fmt: skip


def _look(task: Task, params: Any, reference: dict[str, float | None], step: int) -> Look:
    scores = utility_scores(task, params)
    gap = average_gap(scores, reference, UTILITY_METRICS)
    remaining = scores["remaining_accuracy"]
    # With no class left to be measured on, nothing is known to be useful.
    useful = float("nan") if remaining is None else remaining
    return Look(step, gap, scores["forget_accuracy"] or 0.0, useful)


def _forgotten(look: Look) -> tuple[float, float]:
    return look.forget, -look.remaining


def _prepared(trial: Trial, seconds: float) -> Trial:
    kept = {
        name: getattr(trial, name)._replace(seconds=getattr(trial, name).seconds + seconds)
        for name in ("closest", "equal_utility")
    }
    return trial._replace(**kept, run_seconds=trial.run_seconds + seconds)


def _one_lap(config: SearchConfig) -> bool:
    """Whether a run is over at its first look, so that no other lap tells what compiling cost."""
    return config.steps <= config.look_every
