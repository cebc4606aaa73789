"""Data folders and checkpoints of somebody who means harm: nothing in them is ever executed."""

import gzip
import io
import pickle
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.data import load_dataset
from feasible_jax.unlearning import load_params, save_params

FILES = [
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
]


def archive(names, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name in names:
            zipped.writestr(name, content)
    return buffer.getvalue()


def object_array(payload):
    buffer = io.BytesIO()
    np.save(buffer, np.array([payload], object), allow_pickle=True)
    return buffer.getvalue()


@pytest.fixture(params=["pickle", "gzipped pickle", "npy", "npz", "zip that climbs out"])
def hostile(request, tmp_path, payload):
    """``(content, mark)``: what to plant, and the file that must not come into being."""
    mark = tmp_path / "mark"
    pickled = pickle.dumps(payload(mark))
    pickle.loads(pickled)
    assert mark.exists(), "the payload is harmless: the tests would show nothing"
    mark.unlink()
    array = object_array(payload(mark))
    content = {
        "pickle": pickled,
        "gzipped pickle": gzip.compress(pickled),
        "npy": array,
        "npz": archive(["arr_0.npy"], array),
        "zip that climbs out": archive(["../mark", "../../mark", str(mark)], b"climbed out"),
    }[request.param]
    return content, mark


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_data_folder(hostile, suffix, tmp_path):
    content, mark = hostile
    folder = tmp_path / "data" / "deeper"
    folder.mkdir(parents=True)
    for name in (*(name + suffix for name in FILES), "data.pkl", "data.npz", "__init__.py"):
        (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=str(folder / "train-labels")):
        load_dataset("fashion_mnist", folder)
    assert not mark.exists()
    assert not list(tmp_path.rglob("mark"))


def test_a_checkpoint(hostile, tmp_path):
    content, mark = hostile
    params, path = {"w": jnp.ones(3)}, tmp_path / "deeper" / "checkpoint"
    save_params(path, params)
    (path / "more.pkl").write_bytes(content)
    assert load_params(path, params)["w"].tolist() == [1, 1, 1]
    for file in [file for file in path.rglob("*") if file.is_file()]:
        before = file.read_bytes()
        file.write_bytes(content)
        if file.name != "more.pkl":
            with pytest.raises(ValueError, match="damaged"):
                load_params(path, params)
        file.write_bytes(before)
    assert not mark.exists()
    assert not list(tmp_path.rglob("mark"))
