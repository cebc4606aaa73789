"""What the preparation of a method costs."""

import jax
import jax.numpy as jnp

from feasible_jax.experiments.stopwatch import Stopwatch
from feasible_jax.methods import Method, Problem
from feasible_jax.unlearning import Task
from feasible_jax.unlearning.prepare import prepare


def seconds_to_prepare(task: Task, method: Method, seed: int = 0) -> float:
    """The time that a method takes to prepare a run, 0 where it prepares nothing.

    Args:
      task: what to unlearn.
      method: the base method, which has run on the task before: that compiled its preparation.
      seed: of what is drawn.

    Returns:
      Seconds; it is prepared once more to measure them.
    """
    if method.prepare is None:
        return 0.0
    problem = Problem(task.loss_fn, task.predict_fn, None)
    data = jax.tree.map(jnp.asarray, {"forget": task.forget, "retain": task.retain})
    params = jax.tree.map(jnp.asarray, task.params)
    watch = Stopwatch()
    watch.lap(prepare(problem, method, params, data, jax.random.key(seed)))
    return watch.typical()
