"""Image classification datasets that TensorFlow Datasets has prepared, read without TensorFlow."""

import importlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from feasible_jax.data.dataset import Dataset
from feasible_jax.unlearning.task import Examples

_NAME = re.compile(r"(\w+)(?:/(\w[\w.\-]*))?(?::(\d+\.\d+\.\d+))?")
# Where TFDS looks for the class of a feature, now and in older files, and what it brings itself.
_CLASS_KEYS, _OWN = ("pythonClassName", "python_class_name", "type"), "tensorflow_datasets."
_INSTALL = "pip install 'feasible-jax[tfds]'"


def find_prepared(name: str, data_dir: str | Path | None = None) -> Path | None:
    """The folder in which TensorFlow Datasets has prepared a dataset, the highest version of it.

    Only the file system is looked at: nothing is imported, downloaded or retried.

    Args:
      name: ``"mnist"``, ``"emnist/balanced"`` or ``"mnist:3.0.1"``.
      data_dir: the folder of prepared datasets; by default the one in the environment variable
        ``TFDS_DATA_DIR``, or ``~/tensorflow_datasets``.

    Returns:
      The folder with the ``dataset_info.json``, or None.

    Raises:
      ValueError: if the name is malformed, or several configurations of the dataset are prepared
        and it names none.

    >>> find_prepared("no_such_dataset") is None
    True
    """
    parsed = _NAME.fullmatch(name)
    if parsed is None:
        raise ValueError(f"{name!r} is no dataset name: give NAME, NAME/CONFIG or NAME:1.2.3.")
    base, config, version = parsed.groups()
    root = prepared_root(data_dir) / base / (config or "")
    depths = ("*",) if config else ("*", "*/*")
    found = [
        info.parent
        for depth in depths
        for info in root.glob(f"{depth}/dataset_info.json")
        if re.fullmatch(r"\d+\.\d+\.\d+", info.parent.name) and version in (None, info.parent.name)
    ]
    configs = sorted({str(folder.parent.relative_to(root)) for folder in found})
    if len(configs) > 1:
        raise ValueError(f"{name} is prepared as {', '.join(configs)}: ask for {base}/CONFIG.")
    return max(found, key=lambda folder: [int(n) for n in folder.name.split(".")], default=None)


def prepared_root(data_dir: str | Path | None = None) -> Path:
    """Where prepared datasets lie: ``data_dir``, else ``TFDS_DATA_DIR``, else the TFDS default.

    >>> prepared_root("/srv/data").as_posix()
    '/srv/data'
    """
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(data_dir or default).expanduser()


def load_tfds(name: str, data_dir: str | Path | None = None) -> Dataset:
    """Any image classification dataset prepared on this machine in the ArrayRecord format.

    Args:
      name: ``"mnist"``, ``"emnist/balanced"`` or ``"mnist:3.0.1"``.
      data_dir: as in ``find_prepared``.

    Returns:
      The ``Dataset`` of its splits ``train`` and ``test``; unsigned integers are divided by their
      largest value, floats must lie in ``[0, 1]`` already.

    Raises:
      FileNotFoundError: if it is not prepared here; at once, for the network is not asked.
      ImportError: if TensorFlow Datasets is not installed.
      ValueError: if it is prepared in another format, has no ``train`` or ``test`` split, is not
        an image classification dataset, its images differ in shape, its features are classes of
        other packages, or its files are damaged.

    >>> load_tfds("no_such_dataset", "/nowhere")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no_such_dataset is not prepared in /nowhere. ...
    """
    folder = find_prepared(name, data_dir)
    if folder is None:
        raise FileNotFoundError(
            f"{name} is not prepared in {prepared_root(data_dir)}. On a machine with a network and "
            f"TensorFlow run `tfds build {name} --file_format=array_record` "
            f"({_INSTALL} tensorflow), or give the data_dir it was prepared in. "
            f"Reading it needs {_INSTALL} alone."
        )
    tfds = _tensorflow_datasets()
    _check_features(folder)
    with _intact(folder):
        builder = tfds.builder_from_directory(folder)
    missing = [split for split in ("train", "test") if split not in builder.info.splits]
    if missing:
        raise ValueError(
            f"{name} has no split named {' or '.join(missing)}, only "
            f"{', '.join(sorted(builder.info.splits))}: it needs both train and test."
        )
    image_key, label_key = _keys(name, builder.info)
    train, test = (_read(builder, split, image_key, label_key) for split in ("train", "test"))
    if train.inputs.shape[1:] != test.inputs.shape[1:]:
        raise ValueError(
            f"{name}: training images have shape {train.inputs.shape[1:]}, test images "
            f"{test.inputs.shape[1:]}: all images of a dataset must share one shape."
        )
    classes = tuple(builder.info.features[label_key].names)
    return Dataset(f"tfds:{name}", classes, train, test)


def _tensorflow_datasets() -> Any:
    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise ImportError(
            f"a prepared dataset is read by TensorFlow Datasets ({error}): {_INSTALL}"
        ) from error


def _check_features(folder: Path) -> None:
    """Raise where a folder names classes outside TFDS: it would import whatever module that is."""
    path = folder / "features.json"
    if not path.exists():
        return
    with _intact(folder):
        found = list(_class_names(json.loads(path.read_text())))
    foreign = sorted({name for name in found if not name.startswith(_OWN)})
    if foreign:
        raise ValueError(
            f"{path} names {', '.join(foreign)}: only features of TensorFlow Datasets itself are "
            "read, for others the data folder would decide which code is run."
        )


def _class_names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in _CLASS_KEYS and isinstance(value, str) and "." in value:
                yield value
            yield from _class_names(value)
    elif isinstance(node, list):
        for value in node:
            yield from _class_names(value)


def _keys(name: str, info: Any) -> tuple[str, str]:
    keys = info.supervised_keys
    if keys is None or len(keys) != 2 or not all(isinstance(key, str) for key in keys):
        keys = ("image", "label")
    features = dict(info.features)
    image, label = (features.get(key) for key in keys)
    # A Tensor of that rank is an image too: it is the feature that is written without TensorFlow.
    if image is None or len(image.shape or ()) not in (2, 3) or not hasattr(label, "names"):
        raise ValueError(
            f"{name} has the features {', '.join(sorted(features))}: an image classification "
            f"dataset has an image in {keys[0]!r} and a class label in {keys[1]!r}."
        )
    return keys


def _read(builder: Any, split: str, image_key: str, label_key: str) -> Examples:
    try:
        source = builder.as_data_source(split)
    except NotImplementedError as error:
        raise ValueError(
            f"{builder.name} is prepared in {builder.data_dir} as {builder.info.file_format}, "
            "which needs TensorFlow to read: prepare it again with --file_format=array_record."
        ) from error
    images: list[np.ndarray] = []
    labels: list[int] = []
    for image, label in _pairs(builder, source, image_key, label_key):
        if images and image.shape != images[0].shape:
            raise ValueError(
                f"{builder.name}: {split} image {len(images)} has shape {image.shape}, the first "
                f"one {images[0].shape}: all images of a dataset must share one shape."
            )
        images.append(image)
        labels.append(label)
    if not images:
        raise ValueError(f"{builder.name}: the split {split} is empty; prepare it again.")
    return Examples(_unit_interval(np.stack(images), builder.name), np.asarray(labels, np.int32))


def _pairs(
    builder: Any, source: Any, image_key: str, label_key: str
) -> Iterator[tuple[np.ndarray, int]]:
    with _intact(builder.data_dir):
        for example in source:
            yield np.asarray(example[image_key]), int(example[label_key])


@contextmanager
def _intact(folder: Path | str) -> Iterator[None]:
    """Whatever TFDS stumbles over in damaged files, in words that name the folder."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"the dataset prepared in {folder} is damaged ({type(error).__name__}: {error}): "
            "prepare it again."
        ) from error


def _unit_interval(images: np.ndarray, name: str) -> np.ndarray:
    if images.ndim == 3:
        images = images[..., None]
    if np.issubdtype(images.dtype, np.unsignedinteger):
        return images.astype(np.float32) / np.float32(np.iinfo(images.dtype).max)
    inside = np.issubdtype(images.dtype, np.floating) and images.min() >= 0 and images.max() <= 1
    if not inside:
        raise ValueError(
            f"{name}: images have dtype {images.dtype} and run from {images.min()} to "
            f"{images.max()}: unsigned integers, or floats in [0, 1], are understood."
        )
    return images.astype(np.float32)
