"""How far predictions are from the retrained model's: the part of a row that needs both models."""

import math
from collections.abc import Mapping

from feasible_jax.evaluation.divergence import js_divergence, kl_divergence
from feasible_jax.evaluation.predictions import Predictions, predict
from feasible_jax.unlearning.task import Task

_SETS = ("forget", "test")


def prediction_distance(
    task: Task, predictions: Mapping[str, Predictions], *, batch_size: int = 250
) -> dict[str, float | None]:
    """The mean divergence of a model's predictions from the retrained model's.

    Two models may have the same accuracy and be wrong about different examples; this sees it.

    Args:
      task: the sets, and the retrained model.
      predictions: of the model at hand on ``"forget"`` and ``"test"``.
      batch_size: examples a call of ``task.predict_fn``.

    Returns:
      ``forget_js``, ``test_js``, ``forget_kl`` and ``test_kl`` in nats. All None where the task has
      no retrained model; None where it is infinite.

    >>> from feasible_jax.unlearning.task import Examples
    >>> import numpy as np
    >>> some = Examples(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
    >>> task = Task("toy", None, lambda p, x: x * p, 2.0, some, some, some, some, num_classes=3,
    ...             retrained=1.0)
    >>> known = predict(task.predict_fn, 1.0, some)
    >>> prediction_distance(task, {"forget": known, "test": known})["forget_js"]
    0.0
    """
    if task.retrained is None:
        return {f"{name}_{kind}": None for kind in ("js", "kl") for name in _SETS}
    retrained = {
        name: predict(task.predict_fn, task.retrained, getattr(task, name), batch_size)
        for name in _SETS
    }
    means = {
        f"{name}_{kind}": float(divergence(predictions[name], retrained[name]).mean())
        for kind, divergence in (("js", js_divergence), ("kl", kl_divergence))
        for name in _SETS
    }
    # JSON knows no infinity.
    return {name: mean if math.isfinite(mean) else None for name, mean in means.items()}
