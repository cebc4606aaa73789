"""``feasible-jax evaluate``: the yardsticks of a checkpoint."""

from pathlib import Path

import jax
from rich.console import Console
from rich.table import Table

from feasible_jax.evaluation import YARDSTICKS, compare
from feasible_jax.evaluation import evaluate as evaluate_model
from feasible_jax.experiments.config import load_single_config
from feasible_jax.experiments.ledger import Ledger, plain, write_json
from feasible_jax.experiments.resolve_task import resolve_task
from feasible_jax.unlearning.checkpoint import load_params


def evaluate(run: Path, checkpoint: Path | None = None, out: Path | None = None) -> None:
    """Measure a checkpoint by every yardstick but run time, beside the original and the retrained.

    Args:
      run: a folder that feasible-jax unlearn wrote; its task is what is measured on.
      checkpoint: the parameters to measure; the run's own result, if not given.
      out: a JSON file for the figures, if wanted.
    """
    config = load_single_config(run / "config.json")
    task = resolve_task(config, Ledger(run, plain(config)).model).task
    like = jax.eval_shape(lambda: task.params)
    params = load_params(checkpoint or run / "checkpoint", like)
    columns = {"checkpoint": evaluate_model(task, params, seed=config.seed)}
    columns["original"] = evaluate_model(task, task.params, seed=config.seed)
    if task.retrained is not None:
        retrained = evaluate_model(task, task.retrained, seed=config.seed)
        columns["retrained"] = retrained
        columns = {name: compare(row, retrained) for name, row in columns.items()}
    _print(columns)
    if out is not None:
        write_json(out, columns)
        Console().print(f"The figures: {out}")


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
