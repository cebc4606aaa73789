"""From a configuration to a task: a built-in one, or the user's ``module:function``."""

import importlib
import sys
from pathlib import Path

from rich.console import Console

from feasible_jax.experiments.build_task import BuiltTask, Trainer, build_task
from feasible_jax.experiments.config import SingleConfig
from feasible_jax.experiments.training_bar import training_bar
from feasible_jax.unlearning.task import Task


def resolve_task(config: SingleConfig, trained: Trainer, *, progress: bool = True) -> BuiltTask:
    """The task of a run.

    Args:
      config: names the task.
      trained: keeps the original and the retrained model of a built-in task, see ``build_task``.
      progress: show a progress bar while training (on a terminal only).

    Returns:
      A ``BuiltTask``.

    Raises:
      ValueError, TypeError, ImportError: if ``task_function`` names no function of a ``Task``.
    """
    if config.task_function is not None:
        return BuiltTask(load_task_function(config.task_function), None, None)
    console = Console(stderr=True, quiet=not progress)
    with training_bar(console, 2 * config.task.epochs) as on_epoch:
        return build_task(
            config.task,
            config.scenario,
            config.seed,
            on_epoch=on_epoch,
            trained=trained,
        )


def load_task_function(name: str) -> Task:
    """Call ``module:function`` of the user's and check that it returned a ``Task``.

    Args:
      name: as in ``"my_package.tasks:make_task"``; modules of the working directory are found.

    Returns:
      The ``Task``.

    Raises:
      ValueError: if the name has another form.
      ImportError: if there is no such module or function.
      TypeError: if the function returns something else.

    >>> load_task_function("json:dumps:x")
    Traceback (most recent call last):
    ...
    ValueError: 'json:dumps:x' is not of the form module:function, as in my_package.tasks:make_task.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name.isidentifier():
        raise ValueError(
            f"{name!r} is not of the form module:function, as in my_package.tasks:make_task."
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    function = getattr(importlib.import_module(module_name), function_name, None)
    if not callable(function):
        raise ImportError(f"module {module_name!r} has no function {function_name!r}.")
    task = function()
    if not isinstance(task, Task):
        raise TypeError(f"{name} returned a {type(task).__name__}, not a feasible_jax.Task.")
    return task
