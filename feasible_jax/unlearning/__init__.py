"""The jitted loop: batches, evidence, update, mask; its history; tasks and checkpoints."""

from feasible_jax.unlearning.checkpoint import load_params, save_params
from feasible_jax.unlearning.history import History
from feasible_jax.unlearning.placement import Part, part_of_process
from feasible_jax.unlearning.task import Examples, Task
from feasible_jax.unlearning.unlearn import Stop, UnlearnResult, unlearn

__all__ = [
    "Examples",
    "History",
    "Part",
    "Stop",
    "Task",
    "UnlearnResult",
    "load_params",
    "part_of_process",
    "save_params",
    "unlearn",
]
