"""``feasible-jax demo``: watch models forget, with and without feasible updates."""

from pathlib import Path

from rich.console import Console

from feasible_jax.commands.run_command import run_command
from feasible_jax.experiments import preset, run_study
from feasible_jax.experiments.choices import ArmName, MethodName, ModelName, ScenarioName
from feasible_jax.experiments.ledger import plain
from feasible_jax.report import Run, print_tables, write_report


def demo(
    out: Path,
    dataset: str = "digits",
    data_dir: Path | None = None,
    model: ModelName | None = None,
    scenarios: tuple[ScenarioName, ...] | None = None,
    methods: tuple[MethodName, ...] | None = None,
    arms: tuple[ArmName, ...] | None = None,
    seeds: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    train_size: int | None = None,
    confidences: tuple[float, ...] | None = None,
    learning_rates: tuple[float, ...] | None = None,
) -> None:
    """Forget with several methods, plain and feasible, and write a page that shows what happened.

    Trains the original model and, as the reference, one retrained without the forget set; runs each
    method in each arm with hyper-parameters chosen by the same search on validation data; prints
    tables, and writes results.json, config.json, pictures and index.html. Interrupted, it goes on
    where it stopped when called again with the same settings. What is not given suits the dataset.

    Args:
      out: folder for everything that is written.
      dataset: digits (built in), fashion_mnist, or tfds:NAME, prepared locally.
      data_dir: folder of the dataset's files, where they are not in one of the usual places.
      model: mlp, cnn or resnet18.
      scenarios: what is to be forgotten.
      methods: base methods.
      arms: plain, feasible, and the controls.
      seeds: number of seeds; intervals need at least 2.
      steps: unlearning steps of a run.
      epochs: training epochs of the original and the retrained model.
      train_size: number of training examples.
      confidences: of the tests of feasible updates, in (0, 1), taken in turn by the trials.
      learning_rates: one trial each, for every arm.
    """
    given = {
        "data_dir": str(data_dir) if data_dir else None,
        "model": model,
        "scenarios": scenarios,
        "methods": methods,
        "arms": arms,
        "seeds": seeds,
        "steps": steps,
        "epochs": epochs,
        "train_size": train_size,
        "confidences": confidences,
        "learning_rates": learning_rates,
    }
    config = preset(dataset, **{name: value for name, value in given.items() if value is not None})
    console = Console()
    result = run_study(config, out)
    run = Run(result.rows, plain(config), result.curves, run_command())
    page = write_report(run, out)
    print_tables(run, console)
    console.print(f"The page: {page}")
