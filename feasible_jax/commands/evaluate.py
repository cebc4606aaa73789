"""``feasible-jax evaluate``: the yardsticks of a checkpoint."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from feasible_jax.evaluation import (
    YARDSTICKS,
    compare,
    ensemble_margins,
    evaluate_ensembles,
    relearn_time,
    u_lira_share,
)
from feasible_jax.evaluation import evaluate as evaluate_model
from feasible_jax.evaluation.pairs import check_level
from feasible_jax.experiments.config import SingleConfig, load_single_config, plain_single
from feasible_jax.experiments.ledger import Ledger, write_json
from feasible_jax.experiments.resolve_task import resolve_task
from feasible_jax.experiments.shadows import Shadows, check_shadows, shadow_work, train_shadows
from feasible_jax.experiments.work_bar import work_bar
from feasible_jax.report import load_run
from feasible_jax.report.groups import REFERENCES
from feasible_jax.report.wording import below_original
from feasible_jax.unlearning import Task
from feasible_jax.unlearning.checkpoint import load_params
from feasible_jax.unlearning.saved_run import read_saved

Columns = dict[str, dict[str, float | None]]


def evaluate(
    run: Path,
    checkpoint: Path | None = None,
    out: Path | None = None,
    margin: float = 0.5,
    confidence: float = 0.95,
    relearn: bool = False,
    relearn_steps: int = 1000,
    shadow_models: int = 0,
) -> None:
    """Measure a checkpoint by every yardstick, beside the original and the retrained model.

    Run time is what the run took when it was made; of another checkpoint it is not known.
    What takes training is measured on request: the relearn time with --relearn, the attacks and
    divergences that need shadow models with --shadow-models 16. Shadow models are kept in the run's
    folder, so that a second call is fast.

    Args:
      run: a folder that feasible-jax unlearn wrote; its task is what is measured on.
      checkpoint: the parameters to measure; the run's own result, if not given.
      out: a JSON file for the figures, if wanted.
      margin: the smallest fall of test accuracy that matters, in percent points.
      confidence: of the bounds on falls of utility, in (0, 1).
      relearn: measure how many steps of fine-tuning win back the accuracy on the forget set.
      relearn_steps: the most steps of fine-tuning with --relearn.
      shadow_models: how many models of each kind to train and to unlearn for U-LiRA, forgetting
        quality and KLoM, 0 for none, at least 3, better 16 or more; takes as long as three times so
        many trainings, side by side. They are made with the settings of the run, so that another
        checkpoint gets its U-LiRA share alone.
    """
    check_level(margin, confidence)
    config = load_single_config(run / "config.json")
    if shadow_models:
        check_shadows(config, shadow_models)
    if relearn_steps < 0:
        raise ValueError(f"relearn_steps is {relearn_steps}: give at least 0.")
    if checkpoint is None:
        _check_finished(run)
    ledger = Ledger(run, plain_single(config))
    built = resolve_task(config, ledger.model)
    task = built.task
    like = jax.eval_shape(lambda: task.params)
    models = {
        "checkpoint": load_params(checkpoint or run / "checkpoint", like),
        "original": task.params,
    }
    if task.retrained is not None:
        models["retrained"] = task.retrained
    measure = partial(evaluate_model, task, seed=config.seed, margin=margin, confidence=confidence)
    seconds = {
        "checkpoint": _seconds_of(run) if checkpoint is None else None,
        "original": built.original_seconds,
        "retrained": built.retrained_seconds,
    }
    columns = {name: measure(params, seconds=seconds[name]) for name, params in models.items()}
    if task.retrained is not None:
        columns = {name: compare(row, columns["retrained"]) for name, row in columns.items()}
    if relearn:
        _add(columns, _relearned(task, models, relearn_steps, config.seed))
    if shadow_models:
        shadows = _shadows(config, task, shadow_models, ledger)
        _add(columns, _beside_shadows(task, models, shadows, is_own=checkpoint is None))
    _print(columns)
    console = Console()
    console.print(_fall(columns["checkpoint"], margin, confidence))
    if shadow_models:
        console.print(_about_shadows(shadow_models))
    if out is not None:
        write_json(out, columns)
        console.print(f"The figures: {out}")


def _check_finished(run: Path) -> None:
    saved = read_saved(run / "state")
    if saved is not None and not (run / "checkpoint").exists():
        raise FileNotFoundError(
            f"{run} holds a run that was interrupted after {saved.step} of {saved.steps} steps: "
            "finish it with `feasible-jax unlearn --resume` and the options it was begun with."
        )


def _seconds_of(run: Path) -> float | None:
    """What the run of a folder took; None where it has written no results."""
    try:
        rows = load_run(run).rows
    except FileNotFoundError:
        return None
    return next((row["seconds"] for row in rows if row["method"] not in REFERENCES), None)


def _add(columns: Columns, more: dict[str, dict[str, float]]) -> None:
    for name, row in more.items():
        columns[name] |= row


def _relearned(task: Task, models: dict[str, Any], steps: int, seed: int) -> dict[str, dict]:
    console = Console(stderr=True)
    rows = {}
    with work_bar(console, "relearning", len(models)) as advance:
        for name, params in models.items():
            advance(f"relearning from the {name} model", 0)
            time = relearn_time(task, params, max_steps=steps, seed=seed)
            rows[name] = {"relearn_steps": float(time.steps)}
            advance(f"relearned from the {name} model", 1)
    return rows


def _shadows(config: SingleConfig, task: Task, count: int, ledger: Ledger) -> Shadows:
    def kept(name: str, make: Any, like: Any) -> Any:
        return ledger.model(name, lambda: (make(), None), like)[0]

    with work_bar(Console(stderr=True), "shadow models", shadow_work(config, count)) as advance:
        return train_shadows(config, task, count, kept=kept, on_progress=advance)


def _beside_shadows(
    task: Task, models: dict[str, Any], shadows: Shadows, is_own: bool
) -> dict[str, dict]:
    ensembles = {
        "checkpoint": shadows.unlearned,
        "original": shadows.original,
        "retrained": shadows.reference,
    }
    fits = [
        ensemble_margins(task.predict_fn, members, task.forget)
        for members in (shadows.unlearned, shadows.retrained)
    ]
    rows = {}
    for name, params in models.items():
        alone = jax.tree.map(lambda leaf: leaf[None], params)
        (target,) = ensemble_margins(task.predict_fn, alone, task.forget)
        # Of whatever else made a checkpoint there are no shadow models.
        of = ensembles[name] if is_own or name != "checkpoint" else None
        rows[name] = {} if of is None else evaluate_ensembles(task, of, shadows.retrained)
        rows[name]["u_lira_share"] = u_lira_share(target, *fits)
    return rows


def _about_shadows(count: int) -> str:
    return (
        f"U-LiRA, forgetting quality and KLoM: {count} shadow models unlearned with the run's "
        f"settings, {count} originals and {count} retrained ones, each beside {count} other "
        "retrained ones. U-LiRA share: the same attack on the very model of the column."
    )


def _print(columns: Columns) -> None:
    table = Table(title="Yardsticks")
    for head in ("Yardstick", *columns, "Unit", "Direction"):
        table.add_column(head, justify="right" if head in columns else "left")
    for yardstick in YARDSTICKS:
        values = [row.get(yardstick.name) for row in columns.values()]
        if any(value is not None for value in values):
            shown = ["" if value is None else f"{value:.2f}" for value in values]
            table.add_row(yardstick.label, *shown, yardstick.unit, yardstick.direction)
    Console().print(table)


def _fall(row: dict, margin: float, confidence: float) -> str:
    bound, p = row["test_accuracy_fall_bound"], row["test_accuracy_fall_p"]
    if bound is None:
        return (
            "No fall of test accuracy is tested: this is the original model, or no class remains."
        )
    verdict = "fell by less than" if p <= 1 - confidence else "is not shown to fall by less than"
    return (
        f"Test accuracy, of the classes that remain, is {below_original([bound], confidence)}. "
        f"It {verdict} {margin:g} points (p = {p:.2g})."
    )
