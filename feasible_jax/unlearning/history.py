"""What happened, step by step."""

from typing import NamedTuple

import jax
import numpy as np

from feasible_jax.unlearning.step import Record


class History(NamedTuple):
    """Per-step arrays of a run of ``T`` steps.

    The fractions are those of the first ``feasible_updates`` where several are chained.

    Attributes:
      losses: ``(T,)`` each, by the objective's name, and by the set's name where a constraint was
        tested on it: the mean loss of that step's batch before the update; NaN where the objective
        did not act.
      kept: ``(T,)`` the fraction of the proposed update's coordinates that passed, in [0, 1]; all
        ones where nothing was tested.
      kept_per_leaf: ``(T,)`` each, by the leaf's path as in ``"dense/kernel"``.
      pass_rate: ``(T,)`` each, by the constraint's name.

    >>> import numpy as np
    >>> history = History({"forget": np.array([0.1, 0.2])}, np.ones(2), {}, {})
    >>> len(history.kept)
    2
    """

    losses: dict[str, np.ndarray]
    kept: np.ndarray
    kept_per_leaf: dict[str, np.ndarray]
    pass_rate: dict[str, np.ndarray]


def history_of(chunks: list[Record]) -> History:
    """The history of the steps that were taken, from the stacked records of every chunk."""
    whole = jax.tree.map(lambda *leaves: np.concatenate([np.asarray(x) for x in leaves]), *chunks)
    taken = whole.alive
    whole = jax.tree.map(lambda leaf: leaf[taken], whole)
    return History(whole.losses, whole.kept, whole.kept_per_leaf, whole.pass_rate)
