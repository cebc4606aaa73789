"""A dataset in memory."""

from typing import NamedTuple

from feasible_jax.unlearning.task import Examples


class Dataset(NamedTuple):
    """Labelled images, split the way their publisher splits them.

    Attributes:
      name: what ``load_dataset`` calls it.
      classes: the name of each label, in the order of the labels.
      train: inputs ``(N, H, W, C)``, float32 in ``[0, 1]``; labels ``(N,)``, int32.
      test: likewise, with images of the same shape.

    >>> import numpy as np
    >>> some = Examples(np.zeros((2, 8, 8, 1), np.float32), np.array([0, 1], np.int32))
    >>> dataset = Dataset("blank", ("zero", "one"), train=some, test=some)
    >>> dataset.classes[dataset.test.labels[1]]
    'one'
    """

    name: str
    classes: tuple[str, ...]
    train: Examples
    test: Examples
