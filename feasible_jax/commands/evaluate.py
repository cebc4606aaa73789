"""``feasible-jax evaluate``: the yardsticks of a checkpoint."""

from functools import partial
from pathlib import Path

import jax
from rich.console import Console
from rich.table import Table

from feasible_jax.evaluation import YARDSTICKS, compare
from feasible_jax.evaluation import evaluate as evaluate_model
from feasible_jax.evaluation.pairs import check_level
from feasible_jax.experiments.config import load_single_config, plain_single
from feasible_jax.experiments.ledger import Ledger, write_json
from feasible_jax.experiments.resolve_task import resolve_task
from feasible_jax.report.wording import below_original
from feasible_jax.unlearning.checkpoint import load_params
from feasible_jax.unlearning.saved_run import read_saved


def evaluate(
    run: Path,
    checkpoint: Path | None = None,
    out: Path | None = None,
    margin: float = 0.5,
    confidence: float = 0.95,
) -> None:
    """Measure a checkpoint by every yardstick but run time, beside the original and the retrained.

    Args:
      run: a folder that feasible-jax unlearn wrote; its task is what is measured on.
      checkpoint: the parameters to measure; the run's own result, if not given.
      out: a JSON file for the figures, if wanted.
      margin: the smallest fall of test accuracy that matters, in percent points.
      confidence: of the bounds on falls of utility, in (0, 1).
    """
    check_level(margin, confidence)
    config = load_single_config(run / "config.json")
    if checkpoint is None:
        _check_finished(run)
    task = resolve_task(config, Ledger(run, plain_single(config)).model).task
    like = jax.eval_shape(lambda: task.params)
    params = load_params(checkpoint or run / "checkpoint", like)
    measure = partial(evaluate_model, task, seed=config.seed, margin=margin, confidence=confidence)
    columns = {"checkpoint": measure(params), "original": measure(task.params)}
    if task.retrained is not None:
        retrained = measure(task.retrained)
        columns["retrained"] = retrained
        columns = {name: compare(row, retrained) for name, row in columns.items()}
    _print(columns)
    Console().print(_fall(columns["checkpoint"], margin, confidence))
    if out is not None:
        write_json(out, columns)
        Console().print(f"The figures: {out}")


def _check_finished(run: Path) -> None:
    saved = read_saved(run / "state")
    if saved is not None and not (run / "checkpoint").exists():
        raise FileNotFoundError(
            f"{run} holds a run that was interrupted after {saved.step} of {saved.steps} steps: "
            "finish it with `feasible-jax unlearn --resume` and the options it was begun with."
        )


def _print(columns: dict) -> None:
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
