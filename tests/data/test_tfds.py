import importlib
import io
import json
import pickle
import time

import jax
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.data import load_dataset
from feasible_jax.data.tfds import find_prepared, load_tfds, prepared_root


def pretend(folder):
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps({"name": folder.parent.name}))
    return folder


def test_the_highest_version_is_found(tmp_path):
    for version in ("2.0.0", "10.0.0", "9.1.0", "incomplete.X_11.0.0"):
        pretend(tmp_path / "mnist" / version)
    assert find_prepared("mnist", tmp_path).name == "10.0.0"
    assert find_prepared("mnist:9.1.0", tmp_path).name == "9.1.0"
    assert find_prepared("mnist:9.1.1", tmp_path) is None
    assert find_prepared("emnist", tmp_path) is None


def test_configurations(tmp_path):
    letters = pretend(tmp_path / "emnist" / "letters" / "1.0.0")
    assert find_prepared("emnist", tmp_path) == letters
    balanced = pretend(tmp_path / "emnist" / "balanced" / "1.0.0")
    assert find_prepared("emnist/balanced", tmp_path) == balanced
    with pytest.raises(ValueError, match="prepared as balanced, letters: ask for emnist/CONFIG"):
        find_prepared("emnist", tmp_path)


def test_where_it_looks(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "set"))
    assert prepared_root() == tmp_path / "set"
    assert prepared_root(tmp_path) == tmp_path
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert prepared_root().name == "tensorflow_datasets"
    assert "~" not in str(prepared_root())


@pytest.mark.parametrize("name", ["", "../mnist", "mnist/..", "*", "mnist:1", "a/b/c", "/etc"])
def test_malformed_names(name, tmp_path):
    with pytest.raises(ValueError, match="is no dataset name"):
        find_prepared(name, tmp_path)


def test_not_installed(tmp_path, monkeypatch):
    pretend(tmp_path / "mnist" / "1.0.0")

    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ImportError, match=r"pip install 'feasible-jax\[tfds\]'"):
        load_tfds("mnist", tmp_path)


def prepare(
    folder, images, *, feature="tensor", shape=(4, 4, 1), splits=("train", "test"), label=None,
    file_format="array_record", keys=("image", "label"),
):  # fmt: skip
    """A dataset written by TensorFlow Datasets itself; every split holds the same images."""
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("array_record")
    from tensorflow_datasets.core import registered

    features = {
        "tensor": lambda: tfds.features.Tensor(shape=shape, dtype=images[0].dtype),
        "image": lambda: tfds.features.Image(shape=shape),
    }
    label = label or tfds.features.ClassLabel(names=["cat", "dog"])

    with registered.skip_registration():

        class Tiny(tfds.core.GeneratorBasedBuilder):
            name = "tiny"
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(
                        {"image": features[feature](), "label": label}
                    ),
                    supervised_keys=keys,
                )

            def _split_generators(self, dl_manager):
                return {split: self._examples() for split in splits}

            def _generate_examples(self):
                raise NotImplementedError

            def _examples(self):
                for i, image in enumerate(images):
                    yield i, {"image": png(image) if feature == "image" else image, "label": i % 2}

    builder = Tiny(data_dir=folder, file_format=file_format)
    builder.download_and_prepare()
    return folder


def png(image):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, "PNG")
    stream.seek(0)
    return stream


def random_images(shape=(4, 4, 1), count=6):
    return list(np.random.default_rng().integers(0, 256, (count, *shape)).astype(np.uint8))


def sorted_rows(images):
    return sorted(np.asarray(images).reshape(len(images), -1).tolist())


@pytest.mark.parametrize("feature", ["tensor", "image"])
@pytest.mark.parametrize("shape", [(4, 4, 1), (3, 5, 3)])
def test_reads_what_was_prepared(tmp_path, feature, shape):
    images = random_images(shape)
    prepare(tmp_path, images, feature=feature, shape=shape)
    start = time.perf_counter()
    dataset = load_dataset("tfds:tiny", tmp_path)
    assert time.perf_counter() - start < 1
    assert dataset.name == "tfds:tiny"
    assert dataset.classes == ("cat", "dog")
    label_of = {tuple(image.reshape(-1).tolist()): i % 2 for i, image in enumerate(images)}
    for examples in (dataset.train, dataset.test):
        assert examples.inputs.shape == (6, *shape)
        assert examples.inputs.dtype == np.float32
        assert examples.labels.dtype == np.int32
        pixels = np.rint(examples.inputs * 255).astype(int)
        assert sorted_rows(pixels) == sorted_rows(images)
        for image, label in zip(pixels, examples.labels, strict=True):
            assert label_of[tuple(image.reshape(-1).tolist())] == label


def test_tensorflow_is_not_imported(tmp_path):
    import sys

    prepare(tmp_path, random_images())
    load_tfds("tiny", tmp_path)
    assert "tensorflow" not in sys.modules


def test_grey_images_without_a_channel_get_one(tmp_path):
    prepare(tmp_path, random_images((4, 5)), shape=(4, 5))
    assert load_tfds("tiny", tmp_path).train.inputs.shape == (6, 4, 5, 1)


def test_keys_that_the_dataset_does_not_name(tmp_path):
    prepare(tmp_path, random_images(), keys=None)
    assert len(load_tfds("tiny", tmp_path).train.labels) == 6


def test_floats_must_lie_in_the_unit_interval(tmp_path):
    inside = [np.full((2, 2, 1), x, np.float32) for x in (0, 0.5, 1)]
    prepare(tmp_path / "in", inside, shape=(2, 2, 1))
    inputs = load_tfds("tiny", tmp_path / "in").train.inputs
    assert sorted(inputs[:, 0, 0, 0].tolist()) == [0, 0.5, 1]
    prepare(tmp_path / "out", [image * 255 for image in inside], shape=(2, 2, 1))
    with pytest.raises(ValueError, match=r"run from 0.0 to 255.0"):
        load_tfds("tiny", tmp_path / "out")


def test_images_of_two_shapes(tmp_path):
    images = [np.zeros((4, 4, 1), np.uint8), np.zeros((5, 4, 1), np.uint8)]
    prepare(tmp_path, images, shape=(None, 4, 1), feature="image")
    with pytest.raises(ValueError, match=r"\(\d, 4, 1\).*\(\d, 4, 1\).*share one shape"):
        load_tfds("tiny", tmp_path)


def test_a_split_that_is_not_there(tmp_path):
    prepare(tmp_path, random_images(), splits=("train", "validation"))
    with pytest.raises(ValueError, match="no split named test, only train, validation"):
        load_tfds("tiny", tmp_path)


def test_a_dataset_of_something_else(tmp_path):
    prepare(tmp_path, random_images(), label=_scalar())
    with pytest.raises(ValueError, match="has the features image, label: an image classification"):
        load_tfds("tiny", tmp_path)


def _scalar():
    tfds = pytest.importorskip("tensorflow_datasets")
    return tfds.features.Scalar(dtype=np.int64)


def test_prepared_in_another_format(tmp_path):
    prepare(tmp_path, random_images())
    folder = find_prepared("tiny", tmp_path)
    info = json.loads((folder / "dataset_info.json").read_text())
    info["fileFormat"] = "tfrecord"
    (folder / "dataset_info.json").write_text(json.dumps(info))
    for path in folder.glob("*array_record*"):
        path.rename(folder / path.name.replace("array_record", "tfrecord"))
    with pytest.raises(ValueError, match=r"(?i)tfrecord.*--file_format=array_record"):
        load_tfds("tiny", tmp_path)


@pytest.mark.parametrize("pattern", ["dataset_info.json", "features.json", "*-test.array_record*"])
def test_damaged_files(tmp_path, pattern, payload):
    prepare(tmp_path, random_images())
    (path,) = find_prepared("tiny", tmp_path).glob(pattern)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", pickle.dumps(payload(tmp_path / "mark"))):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"tiny.1\.0\.0 is damaged .*: prepare it again"):
            load_tfds("tiny", tmp_path)
    path.write_bytes(whole)
    assert len(load_tfds("tiny", tmp_path).test.labels) == 6
    assert not (tmp_path / "mark").exists()


def test_a_data_folder_may_not_name_the_code_that_reads_it(tmp_path, monkeypatch):
    prepare(tmp_path, random_images())
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    (path,) = find_prepared("tiny", tmp_path).glob("features.json")
    about = json.loads(path.read_text())
    about["featuresDict"]["features"]["image"]["pythonClassName"] = "planted.Image"
    path.write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"features\.json names planted\.Image"):
        load_tfds("tiny", tmp_path)
    assert not (tmp_path / "mark").exists()


def test_batches_of_a_prepared_dataset_feed_a_run(tmp_path):
    """As a data source, example by example: no TensorFlow is needed to read it."""
    tfds = pytest.importorskip("tensorflow_datasets")
    prepare(tmp_path, random_images(count=24))
    source = tfds.builder_from_directory(find_prepared("tiny", tmp_path)).as_data_source("train")

    def batches():
        rng = np.random.default_rng(0)
        while True:
            rows = [source[int(i)] for i in rng.integers(0, len(source), 8)]
            yield (
                np.stack([row["image"] for row in rows]).astype(np.float32) / 255,
                np.array([row["label"] for row in rows], np.int32),
            )

    def loss(w, example):
        logits = example[0].reshape(-1) @ w
        return jax.nn.logsumexp(logits) - logits[example[1]]

    result = fj.unlearn(
        loss, np.zeros((16, 2), np.float32), forget=batches(), retain=batches(), steps=3,
        method=fj.methods.neg_grad_plus(0.9), optimizer=optax.sgd(0.1), progress=False,
        feasibility=fj.feasible_updates(decrease="retain", confidence=0.6),
    )  # fmt: skip
    assert result.stop is None
    assert np.abs(result.params).max() > 0


def test_fashion_mnist_falls_back_on_the_prepared_one(tmp_path, monkeypatch):
    from feasible_jax.data import fashion_mnist

    prepare(tmp_path, random_images())
    (tmp_path / "tiny").rename(tmp_path / "fashion_mnist")
    monkeypatch.setattr(fashion_mnist, "_SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.delenv("FEASIBLE_JAX_DATA", raising=False)
    assert load_dataset("fashion_mnist", tmp_path).name == "fashion_mnist"
