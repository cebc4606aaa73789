"""``feasible-jax unlearn``: one method on one task."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from feasible_jax.commands.run_command import run_command
from feasible_jax.experiments.choices import ModelName, ScenarioName
from feasible_jax.experiments.config import RunConfig, SingleConfig, plain_single, preset
from feasible_jax.experiments.run_method import paced
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
    run: Annotated[RunConfig, tyro.conf.arg(name="")] = RunConfig(),  # noqa: B008
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    checkpoint_every: float = 60.0,
) -> None:
    """Unlearn with one method, and save a checkpoint of the result.

    The task is a built-in one, whose original and retrained models are trained first and kept in
    the folder, or your own. Writes checkpoint/ (Orbax), results.json, config.json, pictures and
    index.html. Where the run stands is kept in state/: interrupted, it goes on with --resume.

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
      run: how the method is run.
      resume: go on with the interrupted run of the same settings in the folder, or begin one.
      checkpoint_every: seconds between two writes of where the run stands.
    """
    changes: dict[str, Any] = {"fraction": fraction, "forget_class": forget_class}
    if model is not None:
        changes["model"] = model
    if data_dir is not None:
        changes["data_dir"] = str(data_dir)
    config = SingleConfig(**asdict(run), scenario=scenario, task_function=task)
    if task is None:
        config = replace(config, task=preset(dataset, **changes).task)
    config = paced(config)
    outcome = run_single(config, out, resume=resume, checkpoint_every=checkpoint_every)
    done = Run(outcome.study.rows, plain_single(config), outcome.study.curves, run_command())
    page = write_report(done, out)
    console = Console()
    print_tables(done, console)
    if outcome.result.stop is not None:
        console.print(f"Ended after {outcome.result.stop.step} steps: {outcome.result.stop.reason}")
    console.print(f"The checkpoint: {outcome.checkpoint}\nThe page: {page}")
