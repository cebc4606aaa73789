"""Experiments: tasks from datasets, models and scenarios; arms, their search, and whole studies."""

from feasible_jax.experiments.arms import ARMS, METHODS, make_feasibility, make_method
from feasible_jax.experiments.build_task import BuiltTask, build_task
from feasible_jax.experiments.config import (
    RunConfig,
    SearchConfig,
    SingleConfig,
    StudyConfig,
    TaskConfig,
    preset,
)
from feasible_jax.experiments.shadows import Shadows, train_shadows
from feasible_jax.experiments.single import SingleResult, run_single
from feasible_jax.experiments.study import StudyResult, run_study

__all__ = [
    "ARMS",
    "METHODS",
    "BuiltTask",
    "RunConfig",
    "SearchConfig",
    "Shadows",
    "SingleConfig",
    "SingleResult",
    "StudyConfig",
    "StudyResult",
    "TaskConfig",
    "build_task",
    "make_feasibility",
    "make_method",
    "preset",
    "run_single",
    "run_study",
    "train_shadows",
]
