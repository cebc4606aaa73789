import gzip
from pathlib import Path

import numpy as np
import pytest

from feasible_jax.data import fashion_mnist
from feasible_jax.data.fashion_mnist import find_fashion_mnist, read_fashion_mnist

SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")


def idx_bytes(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def write_files(folder, *, train=7, test=3, side=4, seed=None, suffix=""):
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for prefix, count in (("train", train), ("t10k", test)):
        images, labels = rng.integers(0, 256, (count, side, side)), rng.integers(0, 10, count)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx_bytes(array)
            path = folder / f"{prefix}-{name}-ubyte{suffix}"
            path.write_bytes(gzip.compress(content) if suffix else content)
        written[prefix] = images, labels
    return written


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    monkeypatch.setattr(fashion_mnist, "_SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.delenv("FEASIBLE_JAX_DATA", raising=False)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_reads_the_four_files(tmp_path, suffix):
    written = write_files(tmp_path, suffix=suffix)
    dataset = read_fashion_mnist(tmp_path)
    assert dataset.name == "fashion_mnist"
    assert len(dataset.classes) == 10
    for examples, (images, labels) in (
        (dataset.train, written["train"]),
        (dataset.test, written["t10k"]),
    ):
        assert examples.inputs.dtype == np.float32
        assert examples.labels.dtype == np.int32
        np.testing.assert_allclose(examples.inputs[..., 0] * 255, images, atol=1e-4)
        np.testing.assert_array_equal(examples.labels, labels)
        assert 0 <= examples.inputs.min() <= examples.inputs.max() <= 1


@pytest.mark.parametrize("sub", [".", "fashion-mnist", "fashion_mnist"])
@pytest.mark.parametrize("how", ["argument", "environment"])
@pytest.mark.usefixtures("nowhere")
def test_found_in_the_folder_or_inside_it(tmp_path, monkeypatch, sub, how):
    write_files(tmp_path / "mine" / sub)
    if how == "environment":
        monkeypatch.setenv("FEASIBLE_JAX_DATA", str(tmp_path / "mine"))
    found = find_fashion_mnist(tmp_path / "mine" if how == "argument" else None)
    assert found == tmp_path / "mine" / sub


@pytest.mark.usefixtures("nowhere")
def test_order_of_the_places(tmp_path, monkeypatch):
    assert find_fashion_mnist() is None
    write_files(tmp_path / "system")
    assert find_fashion_mnist() == tmp_path / "system"
    write_files(tmp_path / "environment")
    monkeypatch.setenv("FEASIBLE_JAX_DATA", str(tmp_path / "environment"))
    assert find_fashion_mnist() == tmp_path / "environment"
    write_files(tmp_path / "argument")
    assert find_fashion_mnist(tmp_path / "argument") == tmp_path / "argument"


@pytest.mark.usefixtures("nowhere")
def test_three_of_the_four_files_are_no_dataset(tmp_path):
    write_files(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert find_fashion_mnist(tmp_path) is None
    with pytest.raises(FileNotFoundError, match="neither t10k-labels-idx1-ubyte nor"):
        read_fashion_mnist(tmp_path)


def test_numbers_of_images_and_labels_differ(tmp_path):
    write_files(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(6)))
    with pytest.raises(ValueError, match=r"train-images.* 7 images.*train-labels.* 6 labels"):
        read_fashion_mnist(tmp_path)


def test_a_label_that_is_no_class(tmp_path):
    write_files(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.array([0, 10, 1])))
    with pytest.raises(ValueError, match=r"t10k-labels.* label 10"):
        read_fashion_mnist(tmp_path)


def test_image_sizes_differ(tmp_path):
    write_files(tmp_path, side=4)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((3, 5, 5))))
    with pytest.raises(ValueError, match=r"\(4, 4, 1\).*\(5, 5, 1\)"):
        read_fashion_mnist(tmp_path)


@pytest.mark.skipif(not SYSTEM_FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_the_real_files():
    dataset = read_fashion_mnist(SYSTEM_FOLDER)
    assert dataset.train.inputs.shape == (60_000, 28, 28, 1)
    assert dataset.test.inputs.shape == (10_000, 28, 28, 1)
    assert np.bincount(dataset.train.labels).tolist() == [6_000] * 10
    assert np.bincount(dataset.test.labels).tolist() == [1_000] * 10
    assert dataset.train.inputs.mean() == pytest.approx(0.2860, abs=1e-3)
