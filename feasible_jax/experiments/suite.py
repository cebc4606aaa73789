"""Suites: several studies that answer one question together."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from feasible_jax.experiments.config import StudyConfig, preset
from feasible_jax.experiments.ledger import Ledger, plain
from feasible_jax.experiments.progress import StudyProgress
from feasible_jax.experiments.study import StudyResult, check_names, run_scenario, run_study
from feasible_jax.experiments.work_bar import work_bar

SCENARIOS = ("random", "class", "corrupted_labels")
# Those that a first-order optimizer runs.
METHODS = (
    "fine_tuning",
    "gradient_ascent",
    "neg_grad_plus",
    "random_labels",
    "amnesiac",
    "l1_sparse",
    "salun",
    "bad_teacher",
    "boundary_shrink",
    "scrub",
    "sfron",
    "munba",
    "npo",
    "sim_npo",
)
# One-shot edits, which no optimizer proposes step by step: rows to compare with.
COMPARISON = ("ssd", "fisher_forgetting", "influence_unlearning")
ARMS = ("plain", "random_mask", "sign_mask", "feasible", "feasible_curvature", "certified")


@dataclass(frozen=True)
class SuiteConfig:
    """Studies, all crossing the same methods and arms.

    Attributes:
      studies: one a dataset and model.

    >>> len(headline(("digits",), ("mlp",)).studies)
    1
    """

    studies: tuple[StudyConfig, ...]


class SuiteResult(NamedTuple):
    """What a suite found.

    Attributes:
      studies: by name, ``"dataset-model"``.

    >>> SuiteResult({}).studies
    {}
    """

    studies: dict[str, StudyResult]


def headline(
    datasets: Iterable[str] = ("digits", "fashion_mnist"),
    models: Iterable[str] | None = None,
    smoke: bool = False,
    **changes: Any,
) -> SuiteConfig:
    """The suite behind the headline: what does a mask add to any method, at equal utility?

    Args:
      datasets: names; ``"tfds:cifar10"`` where it is prepared.
      models: names; by default the one that suits each dataset.
      smoke: a few steps on a few digits, to see that everything runs.
      **changes: settings of ``preset`` to set otherwise.

    Returns:
      A ``SuiteConfig``.

    Raises:
      ValueError: for a setting that there is not.

    >>> headline(smoke=True).studies[0].seeds
    2
    """
    crossed: dict[str, Any] = {
        "scenarios": SCENARIOS,
        "methods": METHODS,
        "arms": ARMS,
        "seeds": 5,
        "equal_utility": True,
        "comparison": COMPARISON,
    }
    if smoke:
        datasets = ("digits",)
        crossed |= {
            "scenarios": ("random", "corrupted_labels"),
            "methods": ("gradient_ascent", "salun"),
            "comparison": ("ssd",),
            "seeds": 2,
            "steps": 20,
            "epochs": 20,
            "train_size": 300,
            "learning_rates": (0.03, 0.3),
        }
    given = {name: value for name, value in changes.items() if value is not None}
    if "comparison" not in given:  # what is masked is no longer one of those that are not
        methods = given.get("methods", crossed["methods"])
        given["comparison"] = tuple(name for name in crossed["comparison"] if name not in methods)
    studies = []
    for dataset in datasets:
        for model in models or (preset(dataset).task.model,):
            studies.append(preset(dataset, **crossed | given | {"model": model}))
    return SuiteConfig(tuple(studies))


def run_suite(
    config: SuiteConfig, folder: Path, jobs: int = 1, console: Console | None = None
) -> SuiteResult:
    """Run, or go on with, all studies of a suite.

    Args:
      config: the suite.
      folder: each study keeps its cells and models in a folder of its own below it.
      jobs: processes at work at once, each on a scenario of a study, at least 1.
      console: where progress is shown, standard error by default.

    Returns:
      A ``SuiteResult``.

    Raises:
      ValueError, FileNotFoundError: as ``run_study`` does, for any study, before the first one.
      ChildProcessError: if a worker is killed or crashes.

    >>> run_suite(SuiteConfig(()), Path("/tmp")).studies
    {}
    """
    if jobs < 1:
        raise ValueError(f"jobs={jobs}: give at least 1.")
    console = console or Console(stderr=True)
    named = {f"{s.task.dataset.replace(':', '_')}-{s.task.model}": s for s in config.studies}
    if len(named) < len(config.studies):
        raise ValueError("two studies have the same dataset and model: give each once.")
    for study in named.values():
        check_names(study)
    if jobs > 1:
        _run_in_parallel(named, folder, jobs, console)
    found = {}
    for name, study in named.items():
        if jobs == 1:
            console.print(f"Study {name}")
        quiet = Console(quiet=True) if jobs > 1 else console
        found[name] = run_study(study, folder / name, quiet)
    return SuiteResult(found)


def _run_in_parallel(named: dict[str, StudyConfig], folder: Path, jobs: int, console: Console):
    """Fill the ledgers, one process a scenario; what is finished is found there afterwards."""
    tasks = [
        (study, folder / name, scenario)
        for name, study in named.items()
        for scenario in study.scenarios
    ]
    with (
        work_bar(console, "scenarios", len(tasks)) as advance,
        _workers(min(jobs, len(tasks))) as pool,
    ):
        running = [pool.submit(_run_scenario, *task) for task in tasks]
        for (study, _, scenario), done in zip(tasks, running, strict=True):
            advance(f"{study.task.dataset}, {study.task.model}, {scenario}", 0)
            done.result()
            advance(f"{study.task.dataset}, {study.task.model}, {scenario}", 1)


@contextmanager
def _workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this one: at an error or Ctrl-C at once, for what is done is kept."""
    others = set(multiprocessing.active_children())
    # Spawned: a forked process inherits threads of XLA that it cannot use.
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin_worker)
    try:
        yield pool
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        if not isinstance(error, BrokenProcessPool):
            raise
        raise ChildProcessError(
            "a worker ended without a word: it was killed, ran out of memory, or crashed. What is "
            "finished is on disk: run the same again, with fewer jobs if memory is short."
        ) from error
    pool.shutdown()


def _begin_worker() -> None:
    """Ends at Ctrl-C without a word, and with the process that began it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def end_with_it() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=end_with_it, daemon=True).start()


def _run_scenario(study: StudyConfig, folder: Path, scenario: str) -> None:
    ledger = Ledger(folder, plain(study))
    with StudyProgress(study, Console(quiet=True)) as progress:
        run_scenario(study, ledger, progress, scenario)
