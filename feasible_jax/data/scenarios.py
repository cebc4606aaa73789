"""What has to be forgotten: a dataset becomes a forget set, a retain set and unseen examples."""

from typing import NamedTuple

import numpy as np

from feasible_jax.data.dataset import Dataset
from feasible_jax.data.sampling import stratified_sample
from feasible_jax.unlearning.task import Examples

SCENARIOS = ("random", "class", "corrupted_labels")


class Split(NamedTuple):
    """The sets of one unlearning task; a model to forget is trained on forget and retain together.

    Attributes:
      forget: the forget set, with the labels the model is trained on.
      retain: the rest of the training set.
      validation: unseen examples on which hyper-parameters may be chosen.
      test: unseen examples that nothing but the final table may look at.
      forget_true_labels: ``(N_forget,)`` the right labels where the forget set has wrong ones, None
        elsewhere.
      forget_validation: the validation examples of a class that is to be forgotten, which
        ``validation`` holds none of; None elsewhere, and where there are none.

    >>> from feasible_jax.data.digits import load_digits
    >>> split = make_split(load_digits(), "random", fraction=0.1)
    >>> len(split.forget.labels), len(split.retain.labels)
    (108, 971)
    """

    forget: Examples
    retain: Examples
    validation: Examples
    test: Examples
    forget_true_labels: np.ndarray | None = None
    forget_validation: Examples | None = None


def make_split(
    dataset: Dataset,
    scenario: str,
    *,
    fraction: float = 0.1,
    forget_class: int = 0,
    train_size: int | None = None,
    validation_size: int | None = None,
    test_size: int | None = None,
    seed: int = 0,
) -> Split:
    """Split a dataset for one scenario; every draw is stratified by class.

    The training and the validation set are disjoint draws from ``dataset.train``, the test set
    comes from ``dataset.test``. All three depend on the sizes and the seed alone: they are the same
    in every scenario.

    - ``"random"``: a fraction of the training set is to be forgotten.
    - ``"class"``: all training examples of one class are. Validation and test set then hold the
      other classes only, for utility is judged on what must stay; the sizes count them before. The
      validation examples of the class stand apart.
    - ``"corrupted_labels"``: a fraction of the training set gets a wrong label each, uniform over
      the wrong ones, and is to be forgotten.

    Args:
      dataset: what to split.
      scenario: one of ``SCENARIOS``.
      fraction: of the training set, in ``(0, 1)``; not used by ``"class"``.
      forget_class: the label to forget; used by ``"class"`` alone.
      train_size: examples in forget and retain set together; by default all of ``dataset.train``
        that validation leaves.
      validation_size: by default a fifth of ``dataset.train``, or with ``train_size`` a quarter of
        that, as far as there are any left.
      test_size: by default all of ``dataset.test``.
      seed: decides every draw; the global random state is neither read nor changed.

    Returns:
      The ``Split``.

    Raises:
      ValueError: if the scenario or the class does not exist, the fraction is not inside
        ``(0, 1)``, the sizes exceed what there is, or a set comes out empty.

    >>> from feasible_jax.data.digits import load_digits
    >>> split = make_split(load_digits(), "class", forget_class=3)
    >>> print(np.unique(split.forget.labels), np.unique(split.test.labels))
    [3] [0 1 2 4 5 6 7 8 9]
    """
    _check(scenario, fraction, forget_class, len(dataset.classes))
    sizes = _sizes(len(dataset.train.labels), train_size, validation_size)
    available = len(dataset.test.labels)
    test_size = available if test_size is None else test_size
    if not 1 <= test_size <= available:
        raise ValueError(f"test_size is {test_size}: dataset.test holds {available} examples.")
    pool_rng, test_rng, forget_rng = np.random.default_rng(seed).spawn(3)
    train, validation = _disjoint(dataset.train, *sizes, pool_rng)
    test = _take(dataset.test, stratified_sample(dataset.test.labels, test_size, test_rng))
    if scenario == "class":
        split = _forget_class(train, validation, test, forget_class)
    else:
        size = round(fraction * len(train.labels))
        forgotten = _mask(train, stratified_sample(train.labels, size, forget_rng))
        split = Split(_take(train, forgotten), _take(train, ~forgotten), validation, test)
    if scenario == "corrupted_labels":
        split = _corrupt(split, len(dataset.classes), forget_rng)
    return _non_empty(split, scenario)


def _check(scenario: str, fraction: float, forget_class: int, num_classes: int) -> None:
    if scenario not in SCENARIOS:
        raise ValueError(
            f"there is no scenario named {scenario!r}: choose one of {', '.join(SCENARIOS)}."
        )
    if scenario == "class" and forget_class not in range(num_classes):
        raise ValueError(
            f"forget_class is {forget_class}: the labels run from 0 to {num_classes - 1}."
        )
    if scenario != "class" and not 0 < fraction < 1:
        raise ValueError(f"fraction is {fraction}: give a share of the training set in (0, 1).")
    if num_classes < 2:
        raise ValueError(f"the dataset has {num_classes} classes: a scenario needs at least 2.")


def _sizes(available: int, train: int | None, validation: int | None) -> tuple[int, int]:
    if validation is None:
        wanted = available // 5 if train is None else train // 4
        # With too large a train the check below must speak of train, not of a negative rest.
        validation = max(1, wanted if train is None else min(wanted, available - train))
    if train is None:
        train = available - validation
    if train < 1 or validation < 1 or train + validation > available:
        raise ValueError(
            f"train_size {train} and validation_size {validation}: dataset.train holds {available} "
            "examples for the two, and each needs at least 1."
        )
    return train, validation


def _disjoint(
    pool: Examples, train_size: int, validation_size: int, rng: np.random.Generator
) -> tuple[Examples, Examples]:
    in_train = _mask(pool, stratified_sample(pool.labels, train_size, rng))
    rest = np.flatnonzero(~in_train)
    validation = rest[stratified_sample(pool.labels[rest], validation_size, rng)]
    return _take(pool, in_train), _take(pool, validation)


def _forget_class(train: Examples, validation: Examples, test: Examples, label: int) -> Split:
    forget, unseen = (_take(examples, examples.labels == label) for examples in (train, validation))
    retain, validation, test = (
        _take(examples, examples.labels != label) for examples in (train, validation, test)
    )
    unseen = unseen if len(unseen.labels) else None
    return Split(forget, retain, validation, test, forget_validation=unseen)


def _corrupt(split: Split, num_classes: int, rng: np.random.Generator) -> Split:
    true_labels = split.forget.labels
    # An offset that is never 0 makes every wrong label equally likely and the right one impossible.
    offsets = rng.integers(1, num_classes, len(true_labels))
    wrong_labels = ((true_labels + offsets) % num_classes).astype(true_labels.dtype)
    forget = split.forget._replace(labels=wrong_labels)
    return split._replace(forget=forget, forget_true_labels=true_labels)


def _take(examples: Examples, which: np.ndarray) -> Examples:
    return Examples(examples.inputs[which], examples.labels[which])


def _mask(examples: Examples, indices: np.ndarray) -> np.ndarray:
    mask = np.zeros(len(examples.labels), bool)
    mask[indices] = True
    return mask


def _non_empty(split: Split, scenario: str) -> Split:
    for name in ("forget", "retain", "validation", "test"):
        if len(getattr(split, name).labels) == 0:
            raise ValueError(
                f"the {name} set of scenario {scenario} is empty: take more examples, another "
                "fraction or another class."
            )
    return split
