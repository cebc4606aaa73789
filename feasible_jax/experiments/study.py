"""A study: every scenario, seed, method and arm, resumable cell by cell."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from feasible_jax.experiments.arms import ARMS, make_feasibility, make_method, pace_of
from feasible_jax.experiments.build_task import BuiltTask, build_task, divide
from feasible_jax.experiments.config import StudyConfig, check_study
from feasible_jax.experiments.held_out import held_out_like_forget
from feasible_jax.experiments.ledger import Ledger, plain
from feasible_jax.experiments.outcome import (
    Label,
    front_of,
    kept_curves,
    loss_curves,
    make_row,
    what_was_kept,
)
from feasible_jax.experiments.progress import StudyProgress
from feasible_jax.experiments.search import (
    Kept,
    Setting,
    Trial,
    closest_trial,
    equal_utility_trial,
    search,
    search_of,
    settings_of,
)
from feasible_jax.unlearning.task import Task


class StudyResult(NamedTuple):
    """What a study found.

    Attributes:
      rows: one dictionary a scenario, seed, method and arm; see ``evaluation.YARDSTICKS``.
      curves: ``"kept"``, the kept fraction of each layer over steps, and ``"histograms"``, losses
        of forget and test examples; of the first seed. ``"fronts"``, every look of every trial of
        the first seed, if the study asks for equal utility.
      equal_utility: rows of the looks at which a run has forgotten the most without a loss of
        utility, see ``search.Trial``; only if the study asks for them.

    >>> StudyResult(rows=[], curves={"kept": [], "histograms": []}).rows
    []
    """

    rows: list[dict[str, Any]]
    curves: dict[str, list[dict[str, Any]]]
    equal_utility: Sequence[dict[str, Any]] = ()


def run_study(config: StudyConfig, folder: Path, console: Console | None = None) -> StudyResult:
    """Run, or go on with, a study.

    For each scenario and seed, the original and the retrained model are trained and evaluated, then
    every method runs in every arm, and those of the comparison in the plain one. The first seed
    searches learning rate and confidence, the others take them over; each run is kept at its best
    look at the validation set. Finished cells are written to ``folder`` as they come, and a second
    call with the same settings takes them from there.

    Args:
      config: what to cross.
      folder: where cells and models are kept.
      console: where progress is shown, standard error by default.

    Returns:
      A ``StudyResult``.

    Raises:
      ValueError: for unknown names or settings that do not fit the data, before any training; if
        the folder holds a study with other settings.
      FileNotFoundError: if the dataset is not there.

    >>> import tempfile
    >>> from feasible_jax.experiments.config import preset
    >>> config = preset(
    ...     "digits", scenarios=("random",), methods=("fine_tuning",), arms=("plain",), seeds=1,
    ...     epochs=1, train_size=100, steps=10, learning_rates=(0.1,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = run_study(config, Path(folder), Console(quiet=True))
    >>> [row["method"] for row in result.rows]
    ['original', 'retrained', 'fine-tuning']
    """
    check_names(config)
    ledger = Ledger(folder, plain(config))
    with StudyProgress(config, console or Console(stderr=True)) as progress:
        cells = [
            cell
            for scenario in config.scenarios
            for cell in run_scenario(config, ledger, progress, scenario)
        ]

    def gathered(name: str) -> list[Any]:
        return [cell[name] for cell in cells if name in cell]

    curves = {"kept": gathered("kept"), "histograms": gathered("losses")}
    if config.equal_utility:
        curves["fronts"] = gathered("front")
    return StudyResult(gathered("row"), curves, gathered("equal_utility"))


def check_names(config: StudyConfig) -> None:
    """Raise for names that are unknown and settings that do not fit the data."""
    check_study(config)
    methods = [make_method(name, 10) for name in (*config.methods, *config.comparison)]
    for arm in config.arms:
        make_feasibility(arm)
    for scenario in config.scenarios:
        _, split = divide(config.task, scenario)
        if any(method.rewinds for method in methods):
            held_out_like_forget(split)


def run_scenario(
    config: StudyConfig, ledger: Ledger, progress: StudyProgress, scenario: str
) -> list[dict[str, Any]]:
    """One scenario of a study, its seeds in turn: the others ask the first for its settings.

    Args:
      config: the study.
      ledger: where its cells and models are kept.
      progress: told of every look.
      scenario: one of the study's.

    Returns:
      What every cell came to.
    """
    return [
        cell
        for seed in range(config.seeds)
        for cell in _Unit(config, ledger, progress, scenario, seed).run()
    ]


class _Unit:
    """One scenario and seed: two reference models, and every method in every arm."""

    def __init__(
        self,
        config: StudyConfig,
        ledger: Ledger,
        progress: StudyProgress,
        scenario: str,
        seed: int,
    ):
        self.config, self.ledger, self.progress = config, ledger, progress
        self.scenario, self.seed = scenario, seed
        self.where = f"{scenario}, seed {seed}"

    def run(self) -> Iterator[dict[str, Any]]:
        built = self._build()
        reference = self._reference(built, "retrained", None)
        yield self._reference(built, "original", reference["row"])
        yield reference
        for method in self.config.methods:
            # The feasible arm comes first: the random mask takes its density from it.
            for arm in sorted(self.config.arms, key=lambda arm: arm != "feasible"):
                yield self._arm(built.task, reference["row"], method, arm)
        for method in self.config.comparison:
            yield self._arm(built.task, reference["row"], method, "plain")

    def _name(self, *parts: Any, seed: int | None = None) -> str:
        seed = self.seed if seed is None else seed
        return "-".join([self.scenario, f"seed{seed}", *parts])

    def _label(self, method: str, arm: str) -> Label:
        task = self.config.task
        return Label(task.dataset, task.model, self.scenario, method, arm, self.seed)

    def _build(self) -> BuiltTask:
        def on_epoch(role, epoch, epochs, loss):
            self.progress.advance(f"{self.where}: training the {role} model, loss {loss:.3f}")

        def trained(role, run, like):
            known = self.ledger.has_model(self._name(role))
            outcome = self.ledger.model(self._name(role), run, like)
            units = self.config.task.epochs if known else 0
            self.progress.finished(f"{self.where}: {role} model trained", units)
            return outcome

        return build_task(
            self.config.task, self.scenario, self.seed, on_epoch=on_epoch, trained=trained
        )

    def _reference(self, built: BuiltTask, role: str, reference: dict | None) -> dict[str, Any]:
        task = built.task
        original = (task.params, built.original_seconds)
        params, seconds = (
            original if role == "original" else (task.retrained, built.retrained_seconds)
        )

        def run():
            label = self._label(role, "reference")
            row = make_row(label, task, params, seconds, reference)
            return self._with_losses({"row": row}, label, task, params)

        return self.ledger.cell(self._name(role), run)

    def _arm(self, task: Task, reference: dict, method: str, arm: str) -> dict[str, Any]:
        name = self._name(method, arm)
        settings = self._settings(method, arm)
        known = self.ledger.has(name)
        outcome = self.ledger.cell(name, lambda: self._run(task, reference, method, arm, settings))
        row = outcome["row"]
        self.progress.finished(
            f"{self.where}: {row['method']}, {row['arm']}: forget {row['forget_accuracy']:.1f}, "
            f"test {row['test_accuracy']:.1f}, Avg. Gap {row['avg_gap']:.2f}",
            self.progress.left(method, self.seed, 0 if known else len(settings)),
        )
        return outcome

    def _run(
        self, task: Task, reference: dict, method_name: str, arm: str, settings: tuple
    ) -> dict[str, Any]:
        method = make_method(method_name, task.num_classes)
        label = self._label(method.name, ARMS[arm].label)
        density = self._density(method_name) if arm == "random_mask" else 0.5
        feasibility = make_feasibility(arm, density)

        def on_look(setting, step, gap):
            rate = f"learning rate {setting.learning_rate:g}"
            doing = f"{label.method}, {label.arm}, {rate}, step {step}, gap {gap:.1f}"
            self.progress.advance(f"{self.where}: {doing}")

        config = search_of(method_name, self.config.search)
        trials = search(
            task, reference, method, feasibility, config, settings, self.seed, on_look,
            pace_of(method_name).optimizer,
        )  # fmt: skip

        def row_of(trial: Trial, kept: Kept) -> dict[str, Any]:
            about = _about(trial, kept.look.step)
            return make_row(label, task, kept.params, kept.seconds, reference, about)

        best, useful = closest_trial(trials), equal_utility_trial(trials)
        if self.seed:  # which tries what the first seed has chosen, by either measure
            best, useful = trials[0], trials[-1]
        outcome = {"row": row_of(best, best.closest), "search": [_tried(t) for t in trials]}
        if self.config.equal_utility:
            outcome["equal_utility"] = row_of(useful, useful.equal_utility)
            if self.seed == 0:
                outcome["front"] = front_of(label, [trial.looks for trial in trials])
        if arm == "feasible" and self.seed == 0:
            outcome["kept"] = kept_curves(label, best.history)
        if arm in ("plain", "feasible"):
            outcome = self._with_losses(outcome, label, task, best.closest.params)
        return outcome

    def _with_losses(self, outcome: dict, label: Label, task: Task, params: Any) -> dict[str, Any]:
        return outcome | ({"losses": loss_curves(label, task, params)} if self.seed == 0 else {})

    def _settings(self, method: str, arm: str) -> tuple[Setting, ...]:
        if self.seed == 0:
            return settings_of(search_of(method, self.config.search), ARMS[arm])
        first = self._first_seed(method, arm)
        chosen = [first[name] for name in ("row", "equal_utility") if name in first]
        settings = [Setting(row["learning_rate"], row["confidence"]) for row in chosen]
        return tuple(dict.fromkeys(settings))

    def _density(self, method: str) -> float:
        """The density of the random mask: what the feasible arm kept, so that both are alike."""
        if "feasible" not in self.config.arms:
            return 0.5
        return round(self._first_seed(method, "feasible")["row"]["kept"], 4)

    def _first_seed(self, method: str, arm: str) -> dict[str, Any]:
        return self.ledger.read(self._name(method, arm, seed=0))


def _about(trial: Trial, steps: int) -> dict[str, Any]:
    kept = what_was_kept(trial.history, steps)
    timed = {"step_seconds": trial.step_seconds, "run_seconds": trial.run_seconds}
    return trial.setting._asdict() | {"steps": steps, **kept, "note": trial.note} | timed


def _tried(trial: Trial) -> dict[str, Any]:
    return trial.setting._asdict() | {
        "steps": trial.closest.look.step,
        "gap": trial.closest.look.gap,
    }
