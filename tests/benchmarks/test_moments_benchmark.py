import importlib
import itertools
import json
import time
from pathlib import Path

import jax
import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMOKE = ["--smoke", "--models", "mlp", "--contenders", "vmap"]


@pytest.fixture(autouse=True)
def as_a_script(monkeypatch):
    """The import path and the JAX settings that the script has."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    cache = jax.config.jax_enable_compilation_cache
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
    jax.config.update("jax_enable_compilation_cache", cache)


@pytest.fixture
def moments(monkeypatch):
    script = importlib.import_module("moments")
    # PyTorch takes seconds to import, and its contenders are checked without the script.
    jax_only = importlib.import_module("moments_jax").CONTENDERS
    monkeypatch.setattr(script, "available_contenders", lambda: jax_only)
    return script


def a_row(model, size, contender, ratio):
    baseline = contender == "plain"
    row = {"model": model, "title": model.upper(), "parameters": 10, "batch_size": size}
    row |= {"contender": contender, "label": contender, "framework": "jax", "left_out": None}
    row |= {"is_baseline": baseline, "seconds": 0.01 * ratio, "ratio": ratio}
    return row | {"temp_bytes": 2**20, "compile_seconds": 1.0, "times": [0.01] * 3}


def a_cell(model, size, contenders=("plain", "vmap")):
    return [a_row(model, size, name, 1.0 + i) for i, name in enumerate(contenders)]


def test_a_smoke_run_writes_results_table_and_plot(moments, tmp_path):
    files = {name: tmp_path / name for name in ("r.json", "t.md", "p.svg")}
    outputs = ["--out", files["r.json"], "--table", files["t.md"], "--plot", files["p.svg"]]
    moments.main([*SMOKE, "--batch-sizes", "4", *map(str, outputs)])
    results = json.loads(files["r.json"].read_text())
    plain, vmap = results["rows"]
    assert (plain["contender"], vmap["contender"]) == ("plain", "vmap")
    assert plain["ratio"] == 1
    assert vmap["ratio"] == pytest.approx(vmap["seconds"] / plain["seconds"])
    assert len(vmap["times"]) == 3
    assert vmap["temp_bytes"] > 0
    assert vmap["compile_seconds"] > 0
    assert results["machine"]["cores"] > 0
    assert "| mlp | 4 |" in files["t.md"].read_text()
    assert "<svg" in files["p.svg"].read_text()


def test_resume_measures_only_what_is_missing(moments, tmp_path, monkeypatch):
    measured = []

    def run_cell(model, size, contenders, **_):
        measured.append((model.name, size))
        return a_cell(model.name, size, [contender.name for contender in contenders])

    monkeypatch.setattr(moments, "run_cell", run_cell)
    out = ["--out", str(tmp_path / "r.json")]
    moments.main([*SMOKE, *out, "--batch-sizes", "4"])
    moments.main([*SMOKE, *out, "--batch-sizes", "4", "8", "--resume"])
    assert measured == [("mlp", 4), ("mlp", 8)]
    # A cell whose new contender would have nobody beside it is timed again as a whole.
    moments.main([*SMOKE, *out, "--batch-sizes", "4", "8", "--resume", "--contenders", "optax"])
    assert measured[2:] == [("mlp", 4), ("mlp", 8)]


def test_results_are_not_overwritten_or_mixed(moments, tmp_path):
    out = tmp_path / "r.json"
    results = importlib.import_module("moments_results")
    results.write(results.start(out, False, True) | {"machine": {"cpu": "another"}}, out)
    with pytest.raises(SystemExit, match="--resume"):
        moments.main([*SMOKE, "--out", str(out)])
    with pytest.raises(SystemExit, match="cannot be resumed: its machine"):
        moments.main([*SMOKE, "--out", str(out), "--resume"])


def test_unknown_names_are_refused(moments, tmp_path):
    out = ["--out", str(tmp_path / "r.json")]
    with pytest.raises(SystemExit, match="no contender 'jacobian' here"):
        moments.main([*out, "--contenders", "jacobian"])
    with pytest.raises(SystemExit, match="no model 'vgg' here"):
        moments.main([*out, "--models", "vgg"])


def test_a_report_names_what_was_left_out(moments, tmp_path):
    missing = {"left_out": "too large", "seconds": None, "ratio": None, "times": []}
    rows = a_cell("mlp", 4)
    rows += [a_row("mlp", size, "optax", 1.0) | missing for size in (4, 8)]
    results = importlib.import_module("moments_results")
    path = tmp_path / "r.json"
    results.write(results.start(path, False, True) | {"rows": rows}, path)
    table, plot = tmp_path / "t.md", tmp_path / "p.png"
    moments.main(["--report", str(path), "--table", str(table), "--plot", str(plot)])
    assert "- optax, B = 4 and 8: too large" in table.read_text()
    assert "| mlp | 4 | 2.00x | - |" in table.read_text()
    assert plot.stat().st_size > 0


def test_a_cell_goes_on_without_those_who_cannot():
    cell = importlib.import_module("moments_cell")
    contender = importlib.import_module("moments_contender")
    model = importlib.import_module("moments_models").build("mlp", smoke=True)

    def broken(model, size):
        raise NotImplementedError("no rule for this layer\nand more")

    ready = contender.Prepared(lambda: None)
    slow = contender.Prepared(lambda: time.sleep(0.2))
    contenders = [
        contender.Contender("plain", "plain", "jax", lambda *_: ready),
        contender.Contender("broken", "broken", "jax", broken),
        contender.Contender("huge", "huge", "jax", broken, examples_held=lambda size: 10**9),
        contender.Contender("torch-vmap", "no baseline", "torch", lambda *_: ready),
        contender.Contender("slow", "slow", "jax", lambda *_: slow),
        contender.Contender("picky", "picky", "jax", broken, models=("cnn",)),
    ]
    rows = cell.run_cell(
        model, 4, contenders, seconds=0, max_gib=6, max_call_seconds=0.1, say=print
    )
    assert [row["ratio"] for row in rows] == [1, None, None, None, None, None]
    assert [row["left_out"] for row in rows] == [
        None,
        "NotImplementedError: no rule for this layer",
        "841.9 GiB of per-example gradients, above the limit of 6",
        None,
        "TimeoutError: its first call took 0 s, above the limit of 0.1",
        "supports the layers of cnn only",
    ]


def test_contenders_are_timed_in_turn(monkeypatch):
    timing = importlib.import_module("moments_timing")
    monkeypatch.setattr(timing, "_SECONDS_A_TURN", 1e-6)
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    assert [len(times) for times in timing.interleave(calls, seconds=0).values()] == [3] * 3
    assert "".join(name for name, _ in itertools.groupby(order)) == "abcbcacab"
    assert len(timing.interleave({"a": lambda: None}, seconds=60)["a"]) == 30


@pytest.mark.parametrize("name", ["structured", "microbatch", "optax"])
def test_every_jax_contender_takes_the_same_moments(name, quick_compilation):
    contenders = importlib.import_module("moments_jax").CONTENDERS
    model = importlib.import_module("moments_models").build("mlp", smoke=True)
    by_name = {contender.name: contender for contender in contenders}
    ready = by_name[name].prepare(model, 8)
    expected = by_name["vmap"].prepare(model, 8).call()
    for got, want in zip(jax.tree.leaves(ready.call()), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet18", "vit", "gpt"])
def test_pytorch_computes_the_same_logits(name, quick_compilation):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model = importlib.import_module("moments_models").build(name, smoke=True)
    twin = importlib.import_module("moments_torch_models").build(name, model.sizes)
    assert model.parameters() == sum(p.numel() for p in twin.parameters())

    params = model.init()
    state = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        *modules, kind = (entry.key for entry in path)
        key = ".".join([*modules, "bias" if kind == "bias" else "weight"] if modules else [kind])
        state[key] = torch.from_numpy(as_in_torch(np.array(leaf), model, key))
    twin.load_state_dict(state)

    inputs = model.batch(3)[0]
    if name == "resnet18":
        # "SAME" padding with stride 2 pads both sides, as PyTorch does, where the side is odd.
        inputs = np.pad(inputs, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge")
    expected = model.module.apply({"params": params}, inputs)
    if not model.vocabulary:
        inputs = inputs.transpose(0, 3, 1, 2).copy()
    with torch.no_grad():
        got = twin(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def as_in_torch(leaf, model, key):
    if leaf.ndim == 4:
        return leaf.transpose(3, 2, 0, 1).copy()
    if key == "hidden.weight":
        side = -(-model.sizes["side"] // 4)
        planes = leaf.reshape(side, side, -1, leaf.shape[1])
        return planes.transpose(3, 2, 0, 1).reshape(leaf.shape[1], -1).copy()
    if leaf.ndim == 2 and key.split(".")[0] not in ("embed", "positions"):
        return leaf.T.copy()
    return leaf


@pytest.mark.filterwarnings("ignore:Full backward hook")
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_backpack_and_vmap_in_pytorch_take_the_same_moments(name):
    """BackPACK's are of the summands of a mean loss, and divided by ``N``, not ``N - 1``."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("backpack", reason="BackPACK is not installed")
    contenders = importlib.import_module("moments_torch")
    model, size = importlib.import_module("moments_models").build(name, smoke=True), 8
    backpack = contenders.backpack_variance(model, size)()
    vmapped = contenders.vmap_moments(model, size)()
    for (mean, variance), (want_mean, want) in zip(backpack, vmapped, strict=True):
        np.testing.assert_allclose(mean, want_mean.detach(), rtol=1e-4, atol=1e-6)
        got = variance * size**3 / (size - 1)
        np.testing.assert_allclose(got, want.detach(), rtol=1e-3, atol=1e-7)
