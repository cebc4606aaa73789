"""What happened, step by step."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from feasible_jax.unlearning.step import Record


class Certificates(NamedTuple):
    """What the last ``certify_updates`` said at each of ``T`` steps.

    Attributes:
      accepted: ``(T,)`` whether the update passed, whole or shortened.
      scale: ``(T,)`` what it was multiplied by: 1, 1/2, ..., 0 where it did not pass.
      level: ``(T,)`` the level that the step's tests shared.
      p_value: ``(T,)`` each, by the constraint's name.

    >>> import numpy as np
    >>> Certificates(np.ones(1, bool), np.ones(1), np.array([0.05]), {}).accepted.tolist()
    [True]
    """

    accepted: np.ndarray
    scale: np.ndarray
    level: np.ndarray
    p_value: dict[str, np.ndarray]


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
      abstained: ``(T,)`` whether the update that was applied was zero.
      certificates: what certificates said, None where there were none.
      stop: why the run ended before its last step, None after a full run.
      level: ``(T,)`` the level at which each coordinate was tested; None where nothing was masked.
      expected_false: ``(T,)`` an estimate of how many of the coordinates kept are misaligned in
        truth, -1 where the rule has none; None where nothing was masked.

    >>> import numpy as np
    >>> history = History({"forget": np.array([0.1, 0.2])}, np.ones(2), {}, {}, np.zeros(2, bool))
    >>> len(history.kept)
    2
    """

    losses: dict[str, np.ndarray]
    kept: np.ndarray
    kept_per_leaf: dict[str, np.ndarray]
    pass_rate: dict[str, np.ndarray]
    abstained: np.ndarray
    certificates: Certificates | None = None
    stop: str | None = None
    level: np.ndarray | None = None
    expected_false: np.ndarray | None = None


def history_of(chunks: Sequence[Record], stop: str | None = None) -> History:
    """The history of the steps that were taken, from the stacked records of every chunk."""
    whole = merged(chunks)
    certificates: Any = Certificates(**whole.certificate) if whole.certificate else None
    return History(
        whole.losses, whole.kept, whole.kept_per_leaf, whole.pass_rate, whole.abstained,
        certificates, stop, **whole.mask,
    )  # fmt: skip


def merged(chunks: Sequence[Record]) -> Any:
    """One record of the steps that were taken, its leaves NumPy arrays ``(T,)``."""
    whole = jax.tree.map(lambda *leaves: np.concatenate([np.asarray(x) for x in leaves]), *chunks)
    return jax.tree.map(lambda leaf: leaf[whole.alive], whole)
