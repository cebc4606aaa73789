"""The yardsticks of a way to unlearn: of many unlearned models beside as many retrained ones."""

from typing import Any

import numpy as np

from feasible_jax.evaluation.ensembles import ensemble_margins
from feasible_jax.evaluation.forgetting_quality import forgetting_quality
from feasible_jax.evaluation.klom import klom
from feasible_jax.evaluation.u_lira import u_lira
from feasible_jax.unlearning.task import Examples, Task


def evaluate_ensembles(
    task: Task, unlearned: Any, retrained: Any, *, batch_size: int = 250
) -> dict[str, float]:
    """Measures how far unlearned models are from retrained ones, as distributions.

    One model says little about the method that made it: two retrained models differ too. These
    yardsticks compare many of one kind with many of the other. Their least values depend on the
    number of models, so measure further retrained models beside ``retrained`` as well: that is the
    target.

    Args:
      task: the sets, and the ``predict_fn``.
      unlearned: parameters of M models, every leaf with a leading axis of M, at least 3.
      retrained: likewise of M models trained on the retain set, as ``models.train_ensemble`` makes
        them.
      batch_size: examples a call of ``task.predict_fn``.

    Returns:
      ``u_lira`` in percent, ``u_lira_auc`` and ``forgetting_quality`` in ``[0, 1]``, all on the
      forget set; ``forget_klom`` and ``test_klom``, means in nats.

    Raises:
      ValueError: if there are fewer than 3 models a side, or not as many on both.

    >>> from feasible_jax.unlearning.task import Examples
    >>> some = Examples(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
    >>> task = Task("toy", None, lambda p, x: x * p, 2.0, some, some, some, some, num_classes=3)
    >>> models = np.array([1.0, 2.0, 3.0], np.float32)
    >>> evaluate_ensembles(task, models, models)["u_lira"]
    50.0
    """

    def margins(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
        both = (
            ensemble_margins(task.predict_fn, models, examples, batch_size)
            for models in (unlearned, retrained)
        )
        return next(both), next(both)

    forget, test = margins(task.forget), margins(task.test)
    attack = u_lira(*forget)
    return {
        "u_lira": attack.accuracy,
        "u_lira_auc": attack.auc,
        "forgetting_quality": forgetting_quality(*forget).score,
        "forget_klom": float(klom(*forget).mean()),
        "test_klom": float(klom(*test).mean()),
    }
