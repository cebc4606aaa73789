"""What a finished run leaves behind: a row of the table, and curves for the pictures."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from feasible_jax.evaluation import compare, cross_entropy, evaluate, loss_histogram, predict
from feasible_jax.experiments.arms import ARMS
from feasible_jax.unlearning.history import History
from feasible_jax.unlearning.task import Examples, Task

_TESTING = {arm.label for arm in ARMS.values() if arm.tests}
# Of a row whose model was trained, not unlearned.
_NO_SETTINGS = dict.fromkeys(
    ("learning_rate", "confidence", "steps", "kept", "certified", "note")
    + ("step_seconds", "run_seconds")
)
_COMPARED = ("avg_gap", "tow", "rte_minutes", "rte_ratio")


class Label(NamedTuple):
    """What tables call a run.

    Attributes:
      dataset: name of the dataset, or of the user's task.
      model: name of the model.
      scenario: what was forgotten.
      method: the base method's name, ``"original"`` or ``"retrained"``.
      arm: how it ran, ``"reference"`` for the original and the retrained model.
      seed: its seed.
    """

    dataset: str
    model: str
    scenario: str
    method: str
    arm: str
    seed: int


def make_row(
    label: Label,
    task: Task,
    params: Any,
    seconds: float | None,
    reference: dict[str, Any] | None,
    settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The row of one model: what it is, every yardstick, and the settings that made it.

    Falls of utility are measured from the original model ``task.params``, and None for itself.

    Args:
      label: what tables call it.
      task: the sets that it is measured on.
      params: its parameters.
      seconds: run time without compilation, None if unknown.
      reference: the retrained model's row; None if this is the one, or where there is none.
      settings: ``learning_rate``, ``confidence``, ``steps``, ``kept``, ``certified``, ``note``,
        ``step_seconds`` and ``run_seconds``.

    Returns:
      A flat dictionary, fit for JSON.
    """
    row = evaluate(task, params, seconds=seconds, seed=label.seed)
    if reference is None and label.method != "retrained":
        compared = row | dict.fromkeys(_COMPARED)
    else:
        compared = compare(row, reference or row)
    about = label._asdict() | {"feasible": label.arm in _TESTING}
    return about | (settings or _NO_SETTINGS) | compared


def what_was_kept(history: History, steps: int) -> dict[str, float | None]:
    """Of the first steps of a run, the mean fraction kept and the share that a certificate passed.

    Args:
      history: of the run.
      steps: how many steps to look at; at least one is, where there is one.

    Returns:
      ``kept`` and ``certified``, in [0, 1]; None for no step, and where nothing was certified.

    >>> history = History({}, np.array([0.5, 1.0]), {}, {}, np.zeros(2, bool))
    >>> what_was_kept(history, 2)
    {'kept': 0.75, 'certified': None}
    """
    first = slice(max(steps, 1))
    accepted = () if history.certificates is None else history.certificates.accepted[first]
    kept = history.kept[first]
    return {
        "kept": float(np.mean(kept)) if len(kept) else None,
        "certified": float(np.mean(accepted)) if len(accepted) else None,
    }


def kept_curves(label: Label, history: History) -> dict[str, Any]:
    """The kept fraction of each layer over steps."""
    layers = {
        name: [round(float(v), 5) for v in values] for name, values in history.kept_per_leaf.items()
    }
    return _about(label) | {"steps": list(range(1, len(history.kept) + 1)), "layers": layers}


def front_of(label: Label, trials: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Every look of every trial: what could have been had, and at which price.

    Args:
      label: what tables call the run.
      trials: the looks of each, see ``search.Look``.

    Returns:
      Besides the label, ``unlearning`` and ``remaining``: UA and the validation accuracy of the
      classes that remain, in percent, one a look.
    """
    looks = [look for trial in trials for look in trial if np.isfinite(look.remaining)]
    return _about(label) | {
        "dataset": label.dataset,
        "model": label.model,
        "unlearning": [round(100 - look.forget, 3) for look in looks],
        "remaining": [round(look.remaining, 3) for look in looks],
    }


def loss_curves(label: Label, task: Task, params: Any) -> dict[str, Any]:
    """Histograms of the losses of forget and of test examples."""

    def losses(examples: Examples) -> np.ndarray:
        return cross_entropy(predict(task.predict_fn, params, examples))

    histogram = loss_histogram(losses(task.forget), losses(task.test))
    return _about(label) | {
        name: np.asarray(values).tolist() for name, values in histogram._asdict().items()
    }


def _about(label: Label) -> dict[str, str]:
    return {"scenario": label.scenario, "method": label.method, "arm": label.arm}
