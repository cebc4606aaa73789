import json
import shlex
import signal

from feasible_jax.experiments import study as study_module

TINY = (
    "--seeds", 1, "--steps", 4, "--epochs", 2, "--train-size", 150, "--learning-rates", 0.1,
    "--methods", "gradient_ascent", "--arms", "plain", "feasible", "--scenarios", "random",
)  # fmt: skip


def test_the_demo_goes_on_after_ctrl_c_writes_everything_and_prints_a_table(
    feasible_jax, tmp_path, monkeypatch
):
    search, calls = study_module.search, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return search(*args)

    monkeypatch.setattr(study_module, "search", interrupted)
    status, printed = feasible_jax("demo", "--out", tmp_path, *TINY)
    assert status == 130
    command = shlex.join(map(str, ("feasible-jax", "demo", "--out", tmp_path, *TINY)))
    assert printed.splitlines()[-1] == f"Interrupted. To go on where it stopped: {command}"
    assert not (tmp_path / "index.html").exists()

    status, printed = feasible_jax("demo", "--out", tmp_path, *TINY)
    assert status == 0
    assert len(calls) == 3, "each cell once, and the interrupted one again"
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [(row["method"], row["feasible"]) for row in rows] == [
        ("original", False),
        ("retrained", False),
        ("gradient ascent", True),
        ("gradient ascent", False),
    ]
    assert json.loads((tmp_path / "config.json").read_text())["search"]["steps"] == 4
    assert {"tradeoff.png", "kept.png", "losses.png"} <= {p.name for p in tmp_path.iterdir()}
    page = (tmp_path / "index.html").read_text()
    assert "feasible-jax demo --out" in page
    assert "gradient ascent" in printed
    assert "index.html" in printed.replace("\n", "")


def test_a_dataset_that_is_not_there_says_how_to_get_it(feasible_jax, tmp_path, monkeypatch):
    monkeypatch.setattr("feasible_jax.data.fashion_mnist._SYSTEM_FOLDER", tmp_path / "none")
    monkeypatch.delenv("FEASIBLE_JAX_DATA", raising=False)
    out = tmp_path / "out"
    status, printed = feasible_jax("demo", "--out", out, "--dataset", "fashion_mnist")
    assert status == 2
    assert "--data-dir" in printed
    assert "Traceback" not in printed
    assert not out.exists()
