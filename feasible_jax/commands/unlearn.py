"""``feasible-jax unlearn``: one method on one task."""

from pathlib import Path
from typing import Any

from rich.console import Console

from feasible_jax.commands.choices import ArmName, MethodName, ModelName, ScenarioName
from feasible_jax.commands.run_command import run_command
from feasible_jax.experiments.arms import pace_of
from feasible_jax.experiments.config import SingleConfig, TaskConfig, preset
from feasible_jax.experiments.ledger import plain
from feasible_jax.experiments.single import run_single
from feasible_jax.report import Run, print_tables, write_report


def unlearn(
    out: Path,
    task: str | None = None,
    dataset: str = "digits",
    data_dir: Path | None = None,
    model: ModelName | None = None,
    scenario: ScenarioName = "corrupted_labels",
    fraction: float = 0.1,
    forget_class: int = 0,
    method: MethodName = "neg_grad_plus",
    arm: ArmName = "feasible",
    confidence: float = 0.95,
    density: float = 0.5,
    learning_rate: float | None = None,
    momentum: float = 0.0,
    steps: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
) -> None:
    """Unlearn with one method, and save a checkpoint of the result.

    The task is a built-in one, whose original and retrained models are trained first and kept in
    the folder, or your own. Writes checkpoint/ (Orbax), results.json, config.json, pictures and
    index.html.

    Args:
      out: folder for everything that is written.
      task: your own task as module:function, a function without arguments that returns a
        feasible_jax.Task; the options of built-in tasks are then ignored.
      dataset: digits (built in), fashion_mnist, or tfds:NAME, prepared locally.
      data_dir: folder of the dataset's files, where they are not in one of the usual places.
      model: mlp, cnn or resnet18; what suits the dataset, if not given.
      scenario: what is to be forgotten.
      fraction: of the training set to forget, in (0, 1).
      forget_class: the class that the class scenario forgets.
      method: base method.
      arm: plain, feasible, or a control.
      confidence: of each test of feasible updates, in (0, 1).
      density: of the random mask, in [0, 1].
      learning_rate: of SGD; 0.1 if not given, 1 where the method is one-shot.
      momentum: of SGD, in [0, 1).
      steps: number of steps; 100 if not given, 1 where the method is one-shot.
      batch_size: examples drawn from each set at a step.
      seed: decides the division, the training and the batches.
    """
    changes: dict[str, Any] = {"fraction": fraction, "forget_class": forget_class}
    if model is not None:
        changes["model"] = model
    if data_dir is not None:
        changes["data_dir"] = str(data_dir)
    pace = pace_of(method)
    config = SingleConfig(
        task=preset(dataset, **changes).task if task is None else TaskConfig(),
        task_function=task,
        scenario=scenario,
        method=method,
        arm=arm,
        confidence=confidence,
        density=density,
        learning_rate=pace.learning_rate if learning_rate is None else learning_rate,
        momentum=momentum,
        steps=pace.steps if steps is None else steps,
        batch_size=batch_size,
        seed=seed,
    )
    outcome = run_single(config, out)
    run = Run(outcome.study.rows, plain(config), outcome.study.curves, run_command())
    page = write_report(run, out)
    console = Console()
    print_tables(run, console)
    if outcome.result.stop is not None:
        console.print(f"Ended after {outcome.result.stop.step} steps: {outcome.result.stop.reason}")
    console.print(f"The checkpoint: {outcome.checkpoint}\nThe page: {page}")
