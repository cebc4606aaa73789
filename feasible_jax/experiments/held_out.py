"""Unseen examples distributed like the forget set: what a forgotten example should look like."""

import numpy as np

from feasible_jax.data import Split
from feasible_jax.unlearning.task import Examples, Task


def held_out_like_forget(task: Task | Split, seed: int = 0) -> Examples:
    """Validation examples whose labels are as frequent as those of the forget set.

    Those of ``task.forget_validation``, as they are, where the task has such. Else validation
    examples of the classes that the forget set holds, as many as there are: each class has the
    share that it has of the forget set, its examples drawn by chance, and where that takes more
    than there are, all of them as often as each other, up to one. Where the forget set has wrong
    labels, these have wrong ones too, each pair of true and wrong label as often as there.

    Args:
      task: its forget set and its validation set are looked at, so that a ``Split`` will do.
      seed: decides which examples; the same seed, the same examples.

    Returns:
      ``Examples``.

    Raises:
      ValueError: if the validation set has no example of a class that the forget set holds.

    >>> from feasible_jax.experiments import TaskConfig, build_task
    >>> task = build_task(TaskConfig(epochs=1, train_size=100), "class").task
    >>> set(held_out_like_forget(task).labels.tolist())
    {0}
    """
    if task.forget_validation is not None:
        return task.forget_validation
    given = np.asarray(task.forget.labels)
    true = given if task.forget_true_labels is None else np.asarray(task.forget_true_labels)
    inputs, labels = np.asarray(task.validation.inputs), np.asarray(task.validation.labels)
    _check_classes(true, labels)
    size = int(np.isin(labels, true).sum())
    # Forget examples in the order of their labels, and of these so many at equal distances: every
    # pair of labels has its exact share, rounded down or up.
    pattern = np.lexsort((given, true))[(2 * np.arange(size) + 1) * len(true) // (2 * size)]
    rng = np.random.default_rng(seed)
    drawn = np.zeros(size, int)
    for label in np.unique(true[pattern]):
        places = np.flatnonzero(true[pattern] == label)
        drawn[places] = np.resize(rng.permutation(np.flatnonzero(labels == label)), len(places))
    return Examples(inputs[drawn], given[pattern].astype(labels.dtype))


def _check_classes(wanted: np.ndarray, there: np.ndarray) -> None:
    missing = np.setdiff1d(wanted, there).tolist()
    if missing:
        raise ValueError(
            f"the validation set has no example of the labels {missing}, which the forget set "
            "holds: give the task unseen examples distributed like the forget set, "
            "Task(..., forget_validation=...), or more validation examples."
        )
