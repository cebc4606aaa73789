"""Handwritten digits, 8x8, that come with scikit-learn."""

import numpy as np
from sklearn.datasets import load_digits as _sklearn_digits

from feasible_jax.data.dataset import Dataset
from feasible_jax.data.sampling import stratified_sample
from feasible_jax.unlearning.task import Examples

_TEST_FRACTION = 0.25
_SPLIT_SEED = 0


def load_digits() -> Dataset:
    """1,797 grey digits of 8x8 pixels; always there, and small enough for a test.

    A quarter of them, stratified by class and always the same one, is the test set. Source:
    Alpaydin and Kaynak, *Optical Recognition of Handwritten Digits*, UCI (1998).

    Returns:
      The ``Dataset``, with inputs ``(N, 8, 8, 1)``.

    >>> dataset = load_digits()
    >>> dataset.train.inputs.shape, dataset.test.inputs.shape
    ((1348, 8, 8, 1), (449, 8, 8, 1))
    """
    images, labels = (np.asarray(part) for part in _sklearn_digits(return_X_y=True))
    inputs = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    labels = labels.astype(np.int32)
    size = round(_TEST_FRACTION * len(labels))
    is_test = np.zeros(len(labels), bool)
    is_test[stratified_sample(labels, size, np.random.default_rng(_SPLIT_SEED))] = True
    return Dataset(
        "digits",
        tuple(str(digit) for digit in range(10)),
        train=Examples(inputs[~is_test], labels[~is_test]),
        test=Examples(inputs[is_test], labels[is_test]),
    )
