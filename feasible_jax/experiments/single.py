"""One method on one task, by the user's own settings: no search, a checkpoint at the end."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from feasible_jax.experiments.arms import ARMS, make_feasibility, make_method
from feasible_jax.experiments.build_task import divide
from feasible_jax.experiments.config import (
    SingleConfig,
    check_positive,
    check_rates,
    plain_single,
)
from feasible_jax.experiments.held_out import held_out_like_forget
from feasible_jax.experiments.ledger import Ledger, check_folder
from feasible_jax.experiments.outcome import (
    Label,
    kept_curves,
    loss_curves,
    make_row,
    what_was_kept,
)
from feasible_jax.experiments.preparation import seconds_to_prepare
from feasible_jax.experiments.resolve_task import resolve_task
from feasible_jax.experiments.run_method import chunk_steps, pace_for, paced, run_method
from feasible_jax.experiments.stopwatch import Stopwatch
from feasible_jax.experiments.study import StudyResult
from feasible_jax.unlearning import Task, UnlearnResult
from feasible_jax.unlearning.checkpoint import save_params
from feasible_jax.unlearning.saved_run import read_saved

# The cell with the seconds of each chunk, so that a run that was interrupted knows its time.
_LAPS = "laps"


class SingleResult(NamedTuple):
    """What one run came to.

    Attributes:
      study: rows and curves, laid out as a study's.
      result: what ``unlearn`` returned.
      checkpoint: the folder of the unlearned parameters.

    >>> SingleResult._fields
    ('study', 'result', 'checkpoint')
    """

    study: StudyResult
    result: UnlearnResult
    checkpoint: Path


def run_single(
    config: SingleConfig,
    folder: Path,
    *,
    resume: bool = False,
    checkpoint_every: float = 60.0,
    progress: bool = True,
) -> SingleResult:
    """Run one method on one task and save a checkpoint of the result.

    Where the run stands is written to ``state`` in the folder. A run that is finished there is not
    run again.

    Args:
      config: task, method and settings.
      folder: where the models, the checkpoint and the settings go.
      resume: go on with a run that was interrupted; one that is not there is begun.
      checkpoint_every: seconds between two writes of where the run stands.
      progress: show progress bars (on a terminal only).

    Returns:
      A ``SingleResult``.

    Raises:
      ValueError, TypeError, FileNotFoundError: for settings that do not fit, before training.
      FileExistsError: if an interrupted run is in the folder and ``resume`` is False.
      OSError: if the folder cannot be written to.

    >>> import tempfile
    >>> from feasible_jax.experiments.config import TaskConfig
    >>> config = SingleConfig(task=TaskConfig(epochs=1, train_size=100), steps=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     outcome = run_single(config, Path(folder), progress=False)
    >>> [row["method"] for row in outcome.study.rows]
    ['original', 'retrained', 'NegGrad+']
    """
    config, pace = paced(config), pace_for(config)
    check_positive(steps=pace.steps, batch_size=config.batch_size - 1)
    check_rates((pace.learning_rate,), (config.confidence,))
    if not 0 <= config.momentum < 1:
        raise ValueError(f"momentum={config.momentum}: give a number in [0, 1).")
    if config.momentum and pace.optimizer != "sgd":
        raise ValueError(
            f"momentum={config.momentum} is SGD's: leave it out with {pace.optimizer}."
        )
    make_feasibility(config.arm, config.density)
    if make_method(config.method, 10).rewinds and config.task_function is None:
        held_out_like_forget(divide(config.task, config.scenario, config.seed)[1])
    settings, state = plain_single(config), Path(folder) / "state"
    check_folder(folder, settings)
    _check_interrupted(state, resume)

    def trained(role: str, train: Any, like: Any) -> Any:
        return Ledger(folder, settings).model(role, train, like)

    built = resolve_task(config, trained, progress=progress)
    # Only now is the folder marked as this run's: a task that does not exist leaves no trace.
    ledger = Ledger(folder, settings)
    task = built.task
    one_lap = pace.steps <= chunk_steps(config)
    run = partial(run_method, config, task, task.params, config.seed)
    if one_lap:
        run()  # compiles, so that the only lap does not
    watch = Stopwatch(ledger.read(_LAPS)["seconds"] if ledger.has(_LAPS) else ())
    result = run(
        on_look=lambda step, params: ledger.write(_LAPS, {"seconds": watch.laps}),
        watch=watch,
        checkpoint=state,
        checkpoint_every=checkpoint_every,
        resume=True,
        progress=progress,
    )
    seconds = watch.typical() * len(result.history.kept) / chunk_steps(config)
    if not one_lap:  # else it was timed with the rest
        method = make_method(config.method, task.num_classes)
        seconds += seconds_to_prepare(task, method, config.seed)
    checkpoint = Path(folder) / "checkpoint"
    save_params(checkpoint, result.params)
    return SingleResult(_report(config, built, result, seconds), result, checkpoint)


def _check_interrupted(state: Path, resume: bool) -> None:
    saved = read_saved(state)
    if saved is not None and not saved.finished and not resume:
        raise FileExistsError(
            f"{state} holds a run that was interrupted after {saved.step} of {saved.steps} steps: "
            "add --resume to go on with it, or delete that folder to start anew."
        )


def _report(config: SingleConfig, built: Any, result: UnlearnResult, seconds: float) -> StudyResult:
    task = built.task
    method = make_method(config.method, task.num_classes).name
    settings = {
        "learning_rate": config.learning_rate,
        "confidence": config.confidence if ARMS[config.arm].tests else None,
        "steps": len(result.history.kept),
        **what_was_kept(result.history, len(result.history.kept)),
        "note": _note(result),
    }
    retrained = None
    models = []
    if task.retrained is not None:
        label = _label(config, task, "retrained", "reference")
        retrained = make_row(label, task, task.retrained, built.retrained_seconds, None)
        models.append((label, task.retrained))
    label = _label(config, task, "original", "reference")
    original = make_row(label, task, task.params, built.original_seconds, retrained)
    models.append((label, task.params))
    label = _label(config, task, method, ARMS[config.arm].label)
    row = make_row(label, task, result.params, seconds, retrained, settings)
    models.append((label, result.params))
    rows = [original, *([retrained] if retrained else []), row]
    curves = {
        "kept": [kept_curves(label, result.history)] if config.arm != "plain" else [],
        "histograms": [loss_curves(label, task, params) for label, params in models],
    }
    return StudyResult(rows, curves)


def _note(result: UnlearnResult) -> str | None:
    """Why the run ended early, and how far it went back, as far as it did."""
    notes = [] if result.stop is None else [result.stop.reason]
    steps = len(result.history.kept)
    if result.rewound_to not in (None, steps):
        notes.append(f"went back to where it was after {result.rewound_to} of {steps} steps")
    return "; ".join(notes) or None


def _label(config: SingleConfig, task: Task, method: str, arm: str) -> Label:
    if config.task_function is None:
        about = (config.task.dataset, config.task.model, config.scenario)
    else:
        about = (task.name, config.task_function, "user")
    return Label(*about, method, arm, config.seed)
