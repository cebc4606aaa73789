"""Every page of figures is what its script makes of the results that are committed with it."""

import importlib
import json
import re
import shutil
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS, DOCS = ROOT / "benchmarks" / "results", ROOT / "docs"
PAGES = {
    "calibration_benchmark.md": ("calibration.json", "calibration_report", "markdown"),
    "calibration_summary.md": ("calibration.json", "calibration_summary", "summary"),
    "frontier_benchmark.md": ("frontier.json", "frontier_report", "page"),
    "moments_benchmark.md": ("moments.json", "moments_report", "markdown"),
    "speed_benchmark.md": ("speed.json", "speed_report", "page"),
    "step_benchmark.md": ("step.json", "step_report", "markdown"),
}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_made_of_the_committed_results(page):
    results, module, make = PAGES[page]
    made = getattr(importlib.import_module(module), make)
    assert made(json.loads((RESULTS / results).read_text())) == (DOCS / page).read_text()


def test_the_headline_is_made_of_the_committed_results(tmp_path, monkeypatch):
    headline = importlib.import_module("headline_results")
    monkeypatch.setattr(headline, "STATIC", tmp_path)
    for name in ("PAGE", "README"):
        committed = getattr(headline, name)
        monkeypatch.setattr(headline, name, tmp_path / committed.name)
        shutil.copy(committed, tmp_path)
    headline.main(())
    for name, committed in (
        ("PAGE", DOCS / "headline_benchmark.md"),
        ("README", ROOT / "README.md"),
    ):
        assert getattr(headline, name).read_text() == committed.read_text(), name


def test_the_figures_of_the_frontier_in_the_readme_are_the_committed_ones():
    rows = json.loads((RESULTS / "frontier.json").read_text())["rows"]
    _, _, rest = (ROOT / "README.md").read_text().partition("<!-- frontier -->")
    told = rest.partition("<!-- headline -->")[0]
    for method, arm in (
        ("original", "reference"), ("retrained", "reference"), ("gradient_ascent", "none"),
        ("gradient_ascent", "sign_mask"), ("gradient_ascent", "curvature"),
        ("neg_grad_plus", "none"), ("neg_grad_plus", "curvature"),
        ("gradient_ascent", "curvature_certified"),
    ):  # fmt: skip
        wanted = ("random", method, arm)
        found = [r for r in rows if (r["scenario"], r["method"], r["arm"]) == wanted]
        assert len(found) == 5
        retain, test = (
            statistics.mean(row[f"{name}_accuracy"] for row in found) for name in ("retain", "test")
        )
        assert re.search(rf"\b{retain:.1f} (retain )?and {test:.1f}\b", told), (method, arm)


def test_no_results_are_without_a_page():
    told = {results for results, *_ in PAGES.values()} | {"headline.json"}
    assert {path.name for path in RESULTS.glob("*.json")} <= told
