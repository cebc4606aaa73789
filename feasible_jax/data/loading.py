"""Datasets by name."""

from pathlib import Path

from feasible_jax.data.dataset import Dataset
from feasible_jax.data.fashion_mnist import (
    ENVIRONMENT_VARIABLE,
    find_fashion_mnist,
    read_fashion_mnist,
)
from feasible_jax.data.tfds import find_prepared, load_tfds

DATASETS = ("digits", "fashion_mnist", "tfds:NAME")


def load_dataset(name: str, data_dir: str | Path | None = None) -> Dataset:
    """A dataset by name, from this machine: nothing is downloaded.

    Args:
      name: ``"digits"``, ``"fashion_mnist"``, or ``"tfds:NAME"`` for any image classification
        dataset that TensorFlow Datasets has prepared here.
      data_dir: the folder to look into first; by default the environment variables
        ``FEASIBLE_JAX_DATA`` and ``TFDS_DATA_DIR``, then where systems put datasets.

    Returns:
      The ``Dataset``: inputs ``(N, H, W, C)``, float32 in ``[0, 1]``; labels ``(N,)``, int32.

    Raises:
      ValueError: if no dataset has that name, or its files are damaged.
      FileNotFoundError: at once, if it is not on this machine; the text says how to get it.
      ImportError: if it is there but TensorFlow Datasets, which reads it, is not.

    >>> load_dataset("digits").train.inputs.shape
    (1348, 8, 8, 1)
    >>> load_dataset("imagenet")
    Traceback (most recent call last):
    ...
    ValueError: there is no dataset named 'imagenet': choose digits, fashion_mnist, tfds:NAME.
    """
    if name == "digits":
        # scikit-learn takes a second to import, and the names are listed without it.
        from feasible_jax.data.digits import load_digits

        return load_digits()
    if name != "fashion_mnist" and not name.startswith("tfds:"):
        raise ValueError(f"there is no dataset named {name!r}: choose {', '.join(DATASETS)}.")
    if data_dir is not None and not Path(data_dir).is_dir():
        raise FileNotFoundError(f"data_dir {data_dir} is not a folder: give one that exists.")
    if name.startswith("tfds:"):
        return load_tfds(name.removeprefix("tfds:"), data_dir)
    return _load_fashion_mnist(data_dir)


def _load_fashion_mnist(data_dir: str | Path | None) -> Dataset:
    folder = find_fashion_mnist(data_dir)
    if folder is not None:
        return read_fashion_mnist(folder)
    if find_prepared("fashion_mnist", data_dir) is not None:
        return load_tfds("fashion_mnist", data_dir)._replace(name="fashion_mnist")
    raise FileNotFoundError(
        "Fashion-MNIST is not on this machine. Any one of these brings it:\n"
        "  - on Debian and its kin: apt install dataset-fashion-mnist\n"
        "  - its four IDX files in a folder, given as --data-dir (data_dir) or in "
        f"{ENVIRONMENT_VARIABLE}\n"
        "  - pip install 'feasible-jax[tfds]' tensorflow, then "
        "tfds build fashion_mnist --file_format=array_record"
    )
