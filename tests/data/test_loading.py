import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from feasible_jax.data import DATASETS, fashion_mnist, load_dataset


def write_fashion_mnist(folder):
    images, labels = np.full((2, 3, 3), 255, np.uint8), np.array([1, 9], np.uint8)
    for prefix in ("train", "t10k"):
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
            content = bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
            (folder / f"{prefix}-{name}-ubyte").write_bytes(content)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    monkeypatch.setattr(fashion_mnist, "_SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.delenv("FEASIBLE_JAX_DATA", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "prepared"))


def test_names():
    assert DATASETS == ("digits", "fashion_mnist", "tfds:NAME")
    assert load_dataset("digits").name == "digits"


@pytest.mark.usefixtures("nowhere")
def test_fashion_mnist_from_a_folder(tmp_path):
    write_fashion_mnist(tmp_path)
    dataset = load_dataset("fashion_mnist", tmp_path)
    assert dataset.train.inputs.shape == (2, 3, 3, 1)
    assert dataset.test.labels.tolist() == [1, 9]


@pytest.mark.usefixtures("nowhere", "no_network")
def test_absent_fashion_mnist_says_how_to_get_it_at_once():
    start = time.perf_counter()
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset("fashion_mnist")
    assert time.perf_counter() - start < 1
    for way in (
        "dataset-fashion-mnist",
        "--data-dir",
        "FEASIBLE_JAX_DATA",
        "feasible-jax[tfds]",
        "tfds build fashion_mnist --file_format=array_record",
    ):
        assert way in str(caught.value)


@pytest.mark.usefixtures("nowhere", "no_network")
def test_absent_tfds_dataset_fails_at_once(tmp_path):
    start = time.perf_counter()
    with pytest.raises(FileNotFoundError, match=r"cifar10 is not prepared in .*prepared"):
        load_dataset("tfds:cifar10")
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        load_dataset("tfds:cifar10", tmp_path)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("name", ["", "mnist", "Digits", "tfds", "../digits"])
def test_unknown_name(name):
    with pytest.raises(ValueError, match="choose digits, fashion_mnist, tfds:NAME"):
        load_dataset(name)


@pytest.mark.parametrize("name", ["fashion_mnist", "tfds:mnist"])
def test_a_mistyped_folder_is_not_passed_over(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="typo is not a folder"):
        load_dataset(name, tmp_path / "typo")


def test_listing_the_names_imports_nothing_heavy():
    program = (
        "import sys, feasible_jax.data as d; d.DATASETS; "
        "print([m for m in ('sklearn', 'tensorflow', 'tensorflow_datasets', 'flax') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
