"""``feasible-jax benchmark``: the suites behind the project's claims."""

from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from feasible_jax.commands.run_command import run_command
from feasible_jax.experiments.choices import ArmName, MethodName, ModelName, ScenarioName
from feasible_jax.experiments.ledger import plain
from feasible_jax.experiments.suite import headline, run_suite
from feasible_jax.report import Run, write_report
from feasible_jax.report.headline.tables import TextTable, headline_tables
from feasible_jax.report.headline.write_headline import Headline, lead, write_headline


def benchmark(
    out: Path,
    suite: Literal["headline"] = "headline",
    smoke: bool = False,
    jobs: int = 1,
    datasets: tuple[str, ...] = ("digits", "fashion_mnist"),
    data_dir: Path | None = None,
    models: tuple[ModelName, ...] | None = None,
    scenarios: tuple[ScenarioName, ...] | None = None,
    methods: tuple[MethodName, ...] | None = None,
    comparison: tuple[MethodName, ...] | None = None,
    arms: tuple[ArmName, ...] | None = None,
    seeds: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    train_size: int | None = None,
    learning_rates: tuple[float, ...] | None = None,
) -> None:
    """Run a suite: does a mask improve any method, at equal utility?

    Crosses datasets, models, scenarios, methods, arms and seeds; every arm of a method chooses
    among as many settings on validation data. Interrupted, it goes on where it stopped when called
    again with the same settings. Writes results.json, headline.md, pictures and index.html, and a
    page for every dataset and model.

    Args:
      out: folder for everything that is written.
      suite: which suite.
      smoke: a few steps on a few digits, to see that everything runs.
      jobs: processes at work at once, each on a scenario.
      datasets: digits, fashion_mnist, or tfds:NAME, such as tfds:cifar10, prepared locally.
      data_dir: folder of the datasets' files, where they are not in one of the usual places.
      models: mlp, cnn or resnet18; the one that suits each dataset, if not given.
      scenarios: what is to be forgotten.
      methods: base methods, each in every arm.
      comparison: methods that run in the plain arm alone, as rows to compare with; the one-shot
        ones, if not given.
      arms: plain, feasible, and the controls.
      seeds: number of seeds; intervals need at least 2, a sign test 5.
      steps: unlearning steps of a run.
      epochs: training epochs of the original and the retrained model.
      train_size: number of training examples.
      learning_rates: one trial each, for every arm.
    """
    del suite  # there is one so far
    config = headline(
        datasets,
        models,
        smoke,
        data_dir=str(data_dir) if data_dir else None,
        scenarios=scenarios,
        methods=methods,
        comparison=comparison,
        arms=arms,
        seeds=seeds,
        steps=steps,
        epochs=epochs,
        train_size=train_size,
        learning_rates=learning_rates,
    )
    console = Console()
    found = run_suite(config, out, jobs).studies
    command = run_command()
    for (name, study), settings in zip(found.items(), config.studies, strict=True):
        write_report(Run(study.rows, plain(settings), study.curves, command), out / name)
    whole = Headline(
        closest=[row for study in found.values() for row in study.rows],
        equal_utility=[row for study in found.values() for row in study.equal_utility],
        fronts=[front for study in found.values() for front in study.curves["fronts"]],
        studies=list(found),
        command=command,
    )
    page = write_headline(whole, out)
    for table in headline_tables(whole.closest, whole.equal_utility):
        _print(table, console)
    console.print(lead(whole))
    console.print(f"The page: {page}")


def _print(text: TextTable, console: Console) -> None:
    table = Table(title=text.title)
    for i, head in enumerate(text.head):
        table.add_column(head, justify="right" if i else "left")
    for row in text.rows:
        table.add_row(*row)
    console.print(table)
