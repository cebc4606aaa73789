import json

import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.experiments.ledger import Ledger, check_folder, write_json


def test_finished_cells_are_not_run_again(tmp_path):
    calls = []

    def run():
        calls.append(1)
        return {"row": {"x": 1.5}}

    for _ in range(2):
        ledger = Ledger(tmp_path, {"seeds": 1})
        assert ledger.cell("a", run) == {"row": {"x": 1.5}}
    assert calls == [1]
    assert ledger.has("a")
    assert not ledger.has("b")


def test_other_settings_are_refused_and_nothing_is_lost(tmp_path):
    Ledger(tmp_path, {"seeds": 1}).cell("a", lambda: {"row": 1})
    with pytest.raises(ValueError, match=r"other settings: seeds was 1, is 2\. Give another --out"):
        Ledger(tmp_path, {"seeds": 2})
    assert Ledger(tmp_path, {"seeds": 1}).read("a") == {"row": 1}


@pytest.mark.parametrize("name", ["config.json", "cells/a.json"])
def test_a_damaged_file_is_named_and_left_alone(tmp_path, name):
    Ledger(tmp_path, {"seeds": 1}).cell("a", lambda: {"row": 1})
    (tmp_path / name).write_text("{")
    with pytest.raises(ValueError, match=rf"{name} is damaged.*delete it"):
        Ledger(tmp_path, {"seeds": 1}).read("a")
    assert (tmp_path / name).read_text() == "{"


def test_a_folder_that_cannot_be_written_to_is_named(read_only):
    folder = read_only()
    for make in (Ledger, check_folder):
        with pytest.raises(PermissionError, match=r"run cannot be written.*choose another folder"):
            make(folder / "run", {})
    assert list(folder.iterdir()) == []


def test_a_finished_folder_need_not_be_written_to(read_only):
    folder = read_only(lambda f: Ledger(f, {"seeds": 1}).cell("a", lambda: {"row": 1}))
    ledger = Ledger(folder, {"seeds": 1})
    assert ledger.cell("a", pytest.fail) == {"row": 1}
    with pytest.raises(PermissionError, match=r"b\.json cannot be written"):
        ledger.cell("b", lambda: {"row": 2})


def test_an_interrupted_cell_leaves_nothing_behind(tmp_path):
    ledger = Ledger(tmp_path, {})

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.cell("a", interrupted)
    assert not ledger.has("a")


def test_models_are_trained_once(tmp_path):
    params = {"w": jnp.arange(3.0)}
    first = Ledger(tmp_path, {}).model("m", lambda: (params, 2.0), params)
    again, seconds = Ledger(tmp_path, {}).model("m", pytest.fail, params)
    assert first[1] == seconds == 2.0
    np.testing.assert_array_equal(again["w"], params["w"])


def test_json_is_whole_or_not_there(tmp_path):
    path = tmp_path / "rows.json"
    write_json(path, [1])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, [float("nan")])
    with pytest.raises(TypeError):
        write_json(path, [object()])
    assert json.loads(path.read_text()) == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["rows.json"]
