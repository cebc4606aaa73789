"""Shadow models: what a task and a method come to with many other seeds."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.experiments.config import SingleConfig
from feasible_jax.experiments.run_method import run_method
from feasible_jax.models import build_model, train_ensemble
from feasible_jax.unlearning.task import Examples, Task

# What U-LiRA needs: a variance with one model left out.
LEAST_SHADOWS = 3


class Shadows(NamedTuple):
    """Parameters of M models of each kind, every leaf with a leading axis of M.

    Attributes:
      original: trained on forget and retain set together.
      unlearned: those, after the method.
      retrained: trained on the retain set alone.
      reference: M further retrained ones, to say what retrained models look like beside others.

    >>> Shadows._fields
    ('original', 'unlearned', 'retrained', 'reference')
    """

    original: Any
    unlearned: Any
    retrained: Any
    reference: Any


Keeper = Callable[[str, Callable[[], Any], Any], Any]


def train_shadows(
    config: SingleConfig,
    task: Task,
    count: int,
    *,
    kept: Keeper | None = None,
    on_progress: Callable[[str, int], None] | None = None,
) -> Shadows:
    """Train shadow models of a built-in task, and unlearn with the settings of a run.

    All have the task's own forget and retain set and differ by their seeds: initial parameters,
    shuffles and batches of unlearning. The seeds are none that the run itself used. Each kind is
    trained in one program, see ``train_ensemble``; unlearning goes from one to the next and is
    compiled once.

    Args:
      config: the run: its model, its epochs, its method and settings.
      task: the run's task.
      count: M, at least 3.
      kept: ``(name, make, like) -> params``, where a caller keeps models: it may return what it
        kept of the shapes ``like`` instead of calling ``make()``.
      on_progress: called with what is under way and the units done since, ``shadow_work(config,
        count)`` of them in all.

    Returns:
      ``Shadows``.

    Raises:
      ValueError: if the task is the user's own, which says how to unlearn but not how to train, or
        there are fewer than 3 models.

    >>> train_shadows(SingleConfig(), None, count=2)
    Traceback (most recent call last):
    ...
    ValueError: there are 2 shadow models: give at least 3, better 16 or more.
    """
    check_shadows(config, count)
    advance = on_progress or (lambda doing, units: None)
    model = build_model(config.task.model, task.retain.inputs.shape[1:], task.num_classes)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), count))
    like = jax.eval_shape(jax.vmap(model.init), keys)

    def of_kind(kind: str, units: int, make: Callable[[], Any]) -> Any:
        if kept is None:
            return make()
        made = []
        params = kept(f"shadows-{count}-{kind}", lambda: made.append(kind) or make(), like)
        if not made:
            advance(f"{count} {kind} models were there already", units)
        return params

    def trained(kind: str, examples: Examples, first_seed: int) -> Any:
        def on_epoch(epoch: int, loss: float) -> None:
            advance(f"training {count} {kind} models, loss {loss:.3f}", 1)

        seeds = range(first_seed, first_seed + count)
        options = {"seeds": seeds, "epochs": config.task.epochs, "on_epoch": on_epoch}
        return of_kind(kind, config.task.epochs, lambda: train_ensemble(model, examples, **options))

    first = config.seed + 1
    both = Examples(*(np.concatenate(p) for p in zip(task.forget, task.retain, strict=True)))
    original = trained("original", both, first)
    unlearned = of_kind(
        "unlearned", count, lambda: _unlearn_each(config, task, original, count, advance)
    )
    retrained = trained("retrained", task.retain, first + count)
    reference = trained("reference", task.retain, first + 2 * count)
    return Shadows(original, unlearned, retrained, reference)


def shadow_work(config: SingleConfig, count: int) -> int:
    """The units of work in training and unlearning: an epoch of an ensemble, or one unlearning.

    >>> shadow_work(SingleConfig(), 16)
    316
    """
    return 3 * config.task.epochs + count


def check_shadows(config: SingleConfig, count: int) -> None:
    """Raise a ``ValueError`` that says why a run cannot have so many shadow models, if so.

    >>> check_shadows(SingleConfig(), 2)
    Traceback (most recent call last):
    ...
    ValueError: there are 2 shadow models: give at least 3, better 16 or more.
    """
    if config.task_function is not None:
        raise ValueError(
            f"shadow models of {config.task_function!r} cannot be trained, for a task of your own "
            "does not say how: train them yourself, and call evaluate_ensembles."
        )
    if count < LEAST_SHADOWS:
        raise ValueError(
            f"there are {count} shadow models: give at least {LEAST_SHADOWS}, better 16 or more."
        )


def _unlearn_each(config, task, original, count, advance) -> Any:
    members = []
    for i in range(count):
        params = jax.tree.map(lambda leaf, i=i: leaf[i], original)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the last finite parameters are kept
            members.append(run_method(config, task, params, config.seed + 1 + i).params)
        advance(f"unlearning {i + 1} of {count}", 1)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
