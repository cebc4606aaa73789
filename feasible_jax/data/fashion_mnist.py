"""Fashion-MNIST from its four IDX files."""

import os
from pathlib import Path

import numpy as np

from feasible_jax.data.dataset import Dataset
from feasible_jax.data.idx import read_idx
from feasible_jax.unlearning.task import Examples

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

ENVIRONMENT_VARIABLE = "FEASIBLE_JAX_DATA"
_SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
_SUBFOLDERS = (".", "fashion-mnist", "fashion_mnist")
_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def find_fashion_mnist(data_dir: str | Path | None = None) -> Path | None:
    """The first folder that holds all four IDX files, each plain or with ``.gz``.

    Looked into, in this order: ``data_dir``, the folder in the environment variable
    ``FEASIBLE_JAX_DATA``, both of them also at ``fashion-mnist`` and ``fashion_mnist`` inside, and
    ``/usr/share/datasets/fashion-mnist``, where the Debian package puts them.

    Args:
      data_dir: where to look first.

    Returns:
      The folder, or None.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> find_fashion_mnist(folder) == folder
    False
    """
    given = [data_dir, os.environ.get(ENVIRONMENT_VARIABLE)]
    folders = [Path(root) / sub for root in given if root for sub in _SUBFOLDERS]
    for folder in [*folders, _SYSTEM_FOLDER]:
        if all(_file(folder, name) for name in _FILES):
            return folder
    return None


def read_fashion_mnist(folder: str | Path) -> Dataset:
    """The dataset from a folder with the four IDX files.

    60,000 training and 10,000 test images of 28x28 grey pixels, ten classes: Xiao, Rasul and
    Vollgraf, *Fashion-MNIST* (arXiv 1708.07747).

    Args:
      folder: holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same two with
        ``t10k``, each plain or with ``.gz``. Fewer images are fine, and so is any size of image.

    Returns:
      The ``Dataset``, with inputs ``(N, H, W, 1)``.

    Raises:
      FileNotFoundError: names the first file that is missing.
      ValueError: names the file, if one is damaged, a label is not one of the ten, or numbers of
        images and labels, or the two image sizes, differ.

    >>> read_fashion_mnist("/nowhere")
    Traceback (most recent call last):
    ...
    FileNotFoundError: /nowhere holds neither train-images-idx3-ubyte nor ...
    """
    train = _read_examples(Path(folder), _FILES[0], _FILES[1])
    test = _read_examples(Path(folder), _FILES[2], _FILES[3])
    if train.inputs.shape[1:] != test.inputs.shape[1:]:
        raise ValueError(
            f"{folder}: the training images have shape {train.inputs.shape[1:]}, the test images "
            f"{test.inputs.shape[1:]}: these are not two halves of one dataset."
        )
    return Dataset("fashion_mnist", CLASSES, train, test)


def _file(folder: Path, name: str) -> Path | None:
    paths = (folder / name, folder / f"{name}.gz")
    return next((path for path in paths if path.is_file()), None)


def _require(folder: Path, name: str) -> Path:
    path = _file(folder, name)
    if path is None:
        raise FileNotFoundError(f"{folder} holds neither {name} nor {name}.gz.")
    return path


def _read_examples(folder: Path, images_name: str, labels_name: str) -> Examples:
    images_path, labels_path = _require(folder, images_name), _require(folder, labels_name)
    labels = read_idx(labels_path, ndim=1)
    if len(labels) and labels.max() >= len(CLASSES):
        raise ValueError(f"{labels_path} holds the label {labels.max()}: only 0 to 9 are classes.")
    images = read_idx(images_path, ndim=3)
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images)} images, {labels_path} {len(labels)} labels: "
            "the numbers must agree."
        )
    inputs = images[..., None].astype(np.float32) / np.float32(255)
    return Examples(inputs, labels.astype(np.int32))
