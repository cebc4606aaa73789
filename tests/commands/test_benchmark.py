import json

TINY = (
    "--smoke", "--seeds", 2, "--steps", 4, "--epochs", 2, "--train-size", 150,
    "--methods", "gradient_ascent", "--arms", "plain", "feasible", "--scenarios", "random",
)  # fmt: skip


def test_the_suite_writes_a_page_of_its_own_and_one_a_study(feasible_jax, tmp_path):
    status, printed = feasible_jax("benchmark", "--out", tmp_path, *TINY)
    assert status == 0, printed
    assert "gained at equal utility" in printed.replace("\n", " ")
    assert "Study digits-mlp" in printed
    found = json.loads((tmp_path / "results.json").read_text())
    assert [r["method"] for r in found["equal_utility"]] == 2 * (2 * ["gradient ascent"] + ["SSD"])
    assert found["studies"] == ["digits-mlp"]
    assert (tmp_path / "index.html").exists()
    assert (tmp_path / "digits-mlp" / "index.html").exists()
