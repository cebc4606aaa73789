import json

TINY = (
    "--seeds", 1, "--steps", 4, "--epochs", 2, "--train-size", 150, "--learning-rates", 0.1,
    "--methods", "gradient_ascent", "--arms", "plain", "feasible", "--scenarios", "random",
)  # fmt: skip


def test_the_demo_writes_everything_and_prints_a_table(feasible_jax, tmp_path):
    status, printed = feasible_jax("demo", "--out", tmp_path, *TINY)
    assert status == 0
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
