import json

import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.experiments.ledger import Ledger, write_json


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
    with pytest.raises(ValueError, match="other settings"):
        Ledger(tmp_path, {"seeds": 2})
    assert Ledger(tmp_path, {"seeds": 1}).read("a") == {"row": 1}


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
