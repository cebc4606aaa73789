import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from feasible_jax.unlearning.checkpoint import load_params, save_params


class Pair(NamedTuple):
    first: jax.Array
    second: dict


@flax.struct.dataclass
class Layer:
    kernel: jax.Array


def like_of(tree):
    return jax.eval_shape(lambda: tree)


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert isinstance(a, jax.Array)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.fixture
def tree():
    keys = jax.random.split(jax.random.key(0), 2)
    return {
        "dense": {
            "kernel": jax.random.normal(keys[0], (40, 30)),
            "bias": jax.random.normal(keys[1], (3,)).astype(jnp.bfloat16),
        },
        "scale": jnp.float32(2.5),
    }


@pytest.fixture
def saved(tmp_path, tree):
    path = tmp_path / "params"
    save_params(path, tree)
    return path


@pytest.mark.parametrize(
    "params",
    [
        {"w": jnp.arange(6.0).reshape(2, 3).astype(jnp.bfloat16), "n": jnp.arange(3)},
        {"half": jnp.float16(0.1), "flag": jnp.array([True, False]), "few": jnp.uint8(255)},
        jnp.arange(3.0),
        (jnp.ones(2), [jnp.zeros(1)]),
        Pair(jnp.ones(1), {"a": jnp.zeros(2)}),
        Layer(jnp.ones((2, 2))),
        {"a": None, "b": {}, "c": jnp.ones(1)},
        {0: jnp.ones(1), 10: jnp.ones(2), 9: jnp.ones(3)},
        {"": jnp.ones(1), "x y": jnp.ones(2), "../up": jnp.ones(3)},
        {"w": jnp.array([jnp.nan, jnp.inf, -0.0, 1e-45])},
    ],
    ids=str,
)
def test_what_is_saved_comes_back(params, tmp_path):
    save_params(tmp_path / "p", params)
    assert_same(load_params(tmp_path / "p", params), params)
    assert_same(load_params(tmp_path / "p", like_of(params)), params)


def test_numpy_parameters_come_back_as_jax_holds_them(tmp_path):
    params = {"w": np.arange(3.0), "n": np.arange(2)}  # 64 bits
    save_params(str(tmp_path / "p"), params)
    assert_same(load_params(str(tmp_path / "p"), params), jax.tree.map(jnp.asarray, params))


def test_parents_are_made_and_nothing_is_left_beside(tmp_path, tree):
    save_params(tmp_path / "a" / "b" / "p", tree)
    save_params(tmp_path / "a" / "b" / "p", tree)
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["p"]


def test_a_relative_path_and_a_home_will_do(tmp_path, tree, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    save_params("p", tree)
    assert_same(load_params("~/p", tree), tree)


def test_orbax_alone_can_read_it_and_nothing_is_pickled(saved, tree):
    from orbax.checkpoint import v1 as ocp

    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)
    assert_same(ocp.load(saved / "arrays", like), tree)
    for file in saved.rglob("*"):
        assert file.suffix not in (".pkl", ".pickle")
        assert file.is_dir() or b"pickle" not in file.read_bytes()


def test_leaves_come_back_where_like_wants_them(saved, tree):
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("x"))
    other = jax.devices()[3]
    like = {
        "dense": {
            "kernel": jax.device_put(tree["dense"]["kernel"], split),
            "bias": jax.device_put(tree["dense"]["bias"], other),
        },
        "scale": tree["scale"],
    }
    loaded = load_params(saved, like)
    assert_same(loaded, tree)
    assert loaded["dense"]["kernel"].sharding == split
    assert loaded["dense"]["bias"].devices() == {other}
    assert not loaded["scale"].committed, "free to be used beside arrays on any device"


def test_a_sharded_tree_is_saved_whole(tmp_path):
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    whole = jnp.arange(32.0).reshape(16, 2)
    save_params(
        tmp_path / "p", {"w": jax.device_put(whole, NamedSharding(mesh, PartitionSpec("x")))}
    )
    assert_same(load_params(tmp_path / "p", {"w": whole}), {"w": whole})


def test_nothing_there(tmp_path, tree):
    with pytest.raises(FileNotFoundError, match="absent"):
        load_params(tmp_path / "absent", tree)


def test_something_else_there(tmp_path, tree):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("dear diary")
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").mkdir()
    for name in ("notes", "file", "empty"):
        with pytest.raises(ValueError, match=f"{name} is not a checkpoint"):
            load_params(tmp_path / name, tree)
        with pytest.raises(FileExistsError, match=name):
            save_params(tmp_path / name, tree)
    assert (tmp_path / "notes" / "diary.txt").read_text() == "dear diary"


def changed(tree, **dense):
    return {**tree, "dense": {**tree["dense"], **dense}}


def test_differences_from_like_are_named(saved, tree):
    with pytest.raises(
        ValueError, match=r"'dense/kernel'.*\(40, 30\) float32, like has shape \(40, 31\)"
    ):
        load_params(saved, changed(tree, kernel=jnp.zeros((40, 31))))
    with pytest.raises(ValueError, match=r"'dense/bias'.*\(3,\) bfloat16, like.*\(3,\) float32"):
        load_params(saved, changed(tree, bias=jnp.zeros(3)))
    with pytest.raises(ValueError, match=r"'dense/gain' the checkpoint has nothing.*\(2,\)"):
        load_params(saved, changed(tree, gain=jnp.zeros(2)))
    with pytest.raises(
        ValueError, match=r"'scale' the checkpoint has shape \(\).*like has nothing"
    ):
        load_params(saved, {"dense": tree["dense"]})
    many = {f"layer{i}": jnp.zeros(1) for i in range(20)}
    with pytest.raises(ValueError, match="and 15 more"):
        load_params(saved, many)


@pytest.mark.parametrize("how", ["removed", "emptied", "cut", "altered"])
def test_damage_is_noticed_wherever_it_is(how, saved, tree, tmp_path):
    files = [p.relative_to(saved) for p in saved.rglob("*") if p.is_file()]
    assert len(files) > 4
    for name in files:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(saved, copy)
        content = (copy / name).read_bytes()
        if how == "removed":
            (copy / name).unlink()
        elif not content:
            continue
        else:
            half = len(content) // 2
            flipped = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
            (copy / name).write_bytes(
                {"emptied": b"", "cut": content[:half], "altered": flipped}[how]
            )
        if name.name == "manifest.json" and how == "altered":
            continue  # a flipped bit of JSON is a different claim, or no JSON at all
        with pytest.raises(ValueError, match=r"copy.*damaged") as error:
            load_params(copy, tree)
        if name.name != "manifest.json":
            assert name.name in str(error.value)


def test_a_manifest_of_somebody_else(saved, tree):
    for text in ("[]", "{}", '{"files": 3, "leaves": {}}', "not json"):
        (saved / "manifest.json").write_text(text)
        with pytest.raises(ValueError, match="not a checkpoint"):
            load_params(saved, tree)


class Crash(BaseException):
    """The power goes."""


class TestInterruption:
    def crash_at(self, monkeypatch, owner, name, when):
        """Raise instead of the n-th call."""
        original, calls = getattr(owner, name), []

        def crashing(*args, **kwargs):
            calls.append(None)
            if len(calls) == when:
                raise Crash
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, crashing)

    @pytest.mark.parametrize(
        ("what", "when"),
        [("orbax", 1), ("manifest", 1), ("rename", 1), ("rename", 2)],
    )
    @pytest.mark.parametrize("dead", [False, True])
    def test_the_old_checkpoint_survives(self, what, when, dead, saved, tree, monkeypatch):
        """Also when the process dies, so that nothing is cleaned up."""
        from orbax.checkpoint import v1 as ocp

        newer = jax.tree.map(lambda leaf: leaf + 1, tree)
        with monkeypatch.context() as patch:
            owner = {"orbax": ocp, "manifest": json, "rename": Path}[what]
            name = {"orbax": "save", "manifest": "dumps", "rename": "rename"}[what]
            self.crash_at(patch, owner, name, when)
            if dead:
                patch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
            with pytest.raises(Crash):
                save_params(saved, newer)
        assert_same(load_params(saved, tree), tree)
        save_params(saved, newer)
        assert_same(load_params(saved, tree), newer)
        assert [p.name for p in saved.parent.iterdir()] == ["params"]

    def test_a_first_checkpoint_is_there_or_not(self, tmp_path, tree, monkeypatch):
        with monkeypatch.context() as patch:
            self.crash_at(patch, json, "dumps", 1)
            patch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
            with pytest.raises(Crash):
                save_params(tmp_path / "p", tree)
        with pytest.raises(FileNotFoundError):
            load_params(tmp_path / "p", tree)
        save_params(tmp_path / "p", tree)
        assert_same(load_params(tmp_path / "p", tree), tree)

    def test_death_after_the_new_one_is_in_place(self, saved, tree, monkeypatch):
        newer = jax.tree.map(lambda leaf: leaf + 1, tree)
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
            save_params(saved, newer)
        assert_same(load_params(saved, tree), newer)
        save_params(saved, tree)
        assert_same(load_params(saved, tree), tree)
        assert [p.name for p in saved.parent.iterdir()] == ["params"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "no leaves"),
        ({"w": jnp.zeros((0, 3))}, r"'w' has shape \(0, 3\)"),
        ({"a.b": jnp.ones(1), "a": {"b": jnp.zeros(1)}}, "one name"),
        ({"a/b": jnp.ones(1), "a": {"b": jnp.zeros(1)}}, "one name"),
    ],
)
def test_what_orbax_cannot_hold_is_refused_first(params, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_params(tmp_path / "p", params)
    assert list(tmp_path.iterdir()) == []


def test_silence(tmp_path, tree, capfd):
    logger = logging.getLogger("absl")
    level = logger.level
    save_params(tmp_path / "p", tree)
    load_params(tmp_path / "p", tree)
    assert capfd.readouterr() == ("", "")
    assert logger.level == level


def test_orbax_is_not_imported_before_it_is_needed():
    code = (
        "import sys, feasible_jax.unlearning.checkpoint; print('orbax' in str(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
