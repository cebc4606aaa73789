import json

import numpy as np
import pytest

from feasible_jax.report import Run, load_run
from feasible_jax.report.storage import save_run

NAMES = ("results.json", "config.json", "curves.json")


def test_what_was_written_is_read(run, tmp_path):
    save_run(run, tmp_path / "new" / "folder")
    assert load_run(tmp_path / "new" / "folder") == run


def test_the_configuration_stays_as_it_is(run, tmp_path):
    save_run(run, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == run.config
    assert (tmp_path / "command.txt").read_text() == f"{run.command}\n"
    (tmp_path / "command.txt").unlink()
    assert load_run(tmp_path).command == ""


def test_numpy_and_not_finite_values_become_json(tmp_path):
    row = {"a": np.float32(0.5), "b": float("nan"), "c": np.int64(3), "d": -np.inf}
    curves = {"kept": [{"steps": np.arange(2), "layers": {"w": np.array([0.5, np.nan])}}]}
    save_run(Run([row], {"path": tmp_path, "rates": (1, 2)}, curves, "demo"), tmp_path)
    loaded = load_run(tmp_path)
    assert loaded.rows == [{"a": 0.5, "b": None, "c": 3, "d": None}]
    assert loaded.curves == {"kept": [{"steps": [0, 1], "layers": {"w": [0.5, None]}}]}
    assert loaded.config == {"path": str(tmp_path), "rates": [1, 2]}
    for name in NAMES:
        json.loads((tmp_path / name).read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(run, tmp_path, name):
    save_run(run, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"no run directory: {name} is missing"):
        load_run(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_file_is_named(run, tmp_path, name):
    save_run(run, tmp_path)
    path = tmp_path / name
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match=f"{name} is no JSON file"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.json", "{}", "results.json holds a dict, not a list"),
        ("results.json", "[1]", "row 0 of .*results.json is no object"),
        ("config.json", "[]", "config.json holds a list, not an object"),
    ],
)
def test_a_file_of_the_wrong_kind_is_named(run, tmp_path, name, text, message):
    save_run(run, tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_run(tmp_path)


def test_what_json_cannot_say_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_run(Run([], {"rule": object()}, {}, ""), tmp_path / "new")
    assert not (tmp_path / "new").exists()
