import importlib.util
import json
from pathlib import Path

import pytest

from feasible_jax.report.headline.write_headline import Headline, read_headline, write_headline

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "headline_results.py"


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script, at work in a project of its own."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    spec = importlib.util.spec_from_file_location("headline_results", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("DATA", "PAGE", "STATIC", "README"):
        place = tmp_path / getattr(module, name).relative_to(module.ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(module, name, place)
    return module


def a_row(method, arm, seed, unlearning):
    about = {"dataset": "digits", "model": "mlp", "scenario": "random", "method": method}
    return about | {
        "arm": arm, "seed": seed, "unlearning_accuracy": unlearning, "test_accuracy": 90.0,
        "test_accuracy_fall": 0.25, "avg_gap": 1.0 / 3, "steps": 10, "rte_ratio": 0.1,
        "step_seconds": 0.1, "run_seconds": 1.0,
    }  # fmt: skip


@pytest.fixture
def suite(tmp_path):
    arms = {"plain": 10.0, "feasible": 15.0}
    rows = [a_row("NegGrad+", arm, seed, u + seed) for arm, u in arms.items() for seed in range(2)]
    headline = Headline(rows, rows, [], ["digits-mlp"], "feasible-jax benchmark --out x")
    write_headline(headline, tmp_path / "suite")
    return tmp_path / "suite"


def test_data_page_and_section_come_from_the_suite(script, suite):
    script.README.write_text(f"before\n{script.START}\nwhat was there\n{script.END}\nafter\n")
    script.main([suite], "Beside other work.")
    text = script.README.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "what was there" not in text
    assert "| feasible | +5.0" in text
    assert (script.README.parent / "docs/_static/headline-gains.png").is_file()
    assert "docs/_static/headline-gains.png" in text
    page = script.PAGE.read_text()
    assert "    feasible-jax benchmark --out x\n" in page
    assert "Beside other work." in page
    assert "{" not in page
    assert json.loads(script.DATA.read_text())["closest"][0]["avg_gap"] == 0.333333

    script.PAGE.unlink()
    script.main([])  # the same from the data that is kept
    assert script.PAGE.read_text() == page
    assert script.README.read_text() == text


def test_nothing_is_written_where_the_readme_has_no_place_for_it(script, suite):
    script.README.write_text("no marks")
    with pytest.raises(SystemExit, match="no section between"):
        script.main([suite])
    assert script.README.read_text() == "no marks"
    assert not script.DATA.exists()
    assert not script.PAGE.exists()


def test_suites_on_different_data_are_one(script, suite, tmp_path):
    script.README.write_text(f"{script.START}{script.END}")
    there = read_headline(suite)
    other = [row | {"dataset": "faces"} for row in there.closest]
    write_headline(Headline(other, other, [], ["faces-mlp"], "another"), tmp_path / "other")
    script.main([suite, tmp_path / "other"])
    found = json.loads(script.DATA.read_text())
    assert [row["dataset"] for row in found["closest"]] == ["digits"] * 4 + ["faces"] * 4
    assert found["studies"] == ["digits-mlp", "faces-mlp"]
    page = script.PAGE.read_text()
    assert "    feasible-jax benchmark --out x\n    another\n" in page
    assert "1 method, 1 scenario, 2 seeds, on digits with mlp and faces with mlp." in page
    with pytest.raises(SystemExit, match="the same dataset and model"):
        script.main([suite, suite])
