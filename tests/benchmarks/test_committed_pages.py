"""Every page of figures is what its script makes of the results that are committed with it."""

import importlib
import json
import math
import re
import shutil
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS, DOCS = ROOT / "benchmarks" / "results", ROOT / "docs"
PAGES = {
    "calibration_benchmark.md": ("calibration.json", "calibration_report", "markdown"),
    "calibration_rules_benchmark.md": ("calibration.json", "calibration_rules_report", "markdown"),
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


@pytest.fixture
def real():
    """Of each real population: what a test certifies at a level, in percent, or what is missed."""
    parts = json.loads((RESULTS / "calibration.json").read_text())["parts"]
    rows = [row for name, some in parts.items() if name.startswith("real/") for row in some]

    def figures(what, size, level=5, test="gaffke"):
        mine = [row for row in rows if (row["B"], row["test"]) == (size, test)]
        if what in ("missed", "scenario"):
            return [row[what] for row in mine]
        return [100 * row[what][(1, 5).index(level)] / row["draws"] for row in mine]

    return figures


def at_most(share):
    """Rounded up, for a text that says that no population exceeds it."""
    return f"{math.ceil(10 * share - 1e-9) / 10:.1f}%"


def words(text):
    return " ".join(text.split())


def test_the_figures_in_what_the_guarantee_says_are_the_committed_ones(real):
    told = words((DOCS / "guarantee.md").read_text())
    sizes = real("size", 256)
    held = f"within 6.25% on {sum(size <= 6.25 for size in sizes)} of {len(sizes)} of them"
    assert f"5% stayed {held}, but was {max(sizes):.1f}% on the worst" in told
    assert real("scenario", 256)[sizes.index(max(sizes))] == "class"
    five, one = (at_most(max(real("size", 1024, level))) for level in (5, 1))
    assert f"With 1,024 it stayed within {five} on all, and 1% within {one}" in told
    assert "it certifies three in four" in told
    assert 72 < statistics.mean(real("power", 256)) < 78
    sizes = real("size", 64)
    missed = real("missed", 64)[sizes.index(max(sizes))]
    assert f"in {max(sizes):.0f}% of the batches of 64" in told
    assert f"{100 * missed:.0f}% of such batches had none of them" in told
    assert f"{5400 * (1 - missed ** (1 / 64)):.0f} of 5,400 examples" in told


def test_the_figures_in_the_docstrings_of_tests_are_the_committed_ones(real):
    tests = importlib.import_module("feasible_jax.alignment")
    told = words(tests.gaffke_test.__doc__)
    for level, digits in ((5, 0), (1, 1)):
        few, many, most = (real("size", size, level) for size in (64, 256, 1024))
        mean, mean_of_many = (f"{statistics.mean(some):.{digits}f}%" for some in (few, many))
        assert f"nominal {level}% was {mean} on average with 64" in told
        assert f"and up to {max(few):.0f}%; with 256, {mean_of_many}" in told
        assert f"and up to {at_most(max(many))}; with 1024 up to {at_most(max(most))}." in told
    told, few = words(tests.student_test.__doc__), real("size", 64, test="student")
    assert f"a nominal 5% was {statistics.mean(few):.0f}% on average at 64 examples" in told
    assert f"and up to {max(few):.0f}%" in told


def test_the_figures_of_rules_by_themselves_are_the_committed_ones():
    levels = importlib.import_module("calibration_levels").Levels
    parts = json.loads((RESULTS / "calibration.json").read_text())["parts"]
    rows = [row for name, some in parts.items() if name.startswith("masks/") for row in some]
    real = levels("all", [row for row in rows if "base" in row])

    def passes(rule, examples, digits, base="gradient ascent"):
        found = real.of_base(base).figure("passes", rule, examples, 0.05)
        return f"{100 * found.value:.{digits}f}%"

    def harm(rule, examples):
        return f"{100 * real.share('slope_up', 'applied', rule, examples, 0.05).value:.0f}%"

    told = words((DOCS / "how_it_works.md").read_text())
    few, many = (passes("coordinatewise", examples, 1) for examples in (64, 1024))
    assert f"it was {few} at a nominal 5% with 64 examples and {many} with 1,024." in told
    few, many = (passes("coordinatewise", examples, 1, "NegGrad+") for examples in (64, 1024))
    assert f"larger still: [{few} and {many}](calibration_rules_benchmark.md) with NegGrad+" in told
    feasibility = importlib.import_module("feasible_jax.feasibility")
    told = words(feasibility.projection.__doc__)
    few, many = (passes("projection", examples, 0) for examples in (64, 1024))
    assert f"left {few} of gradient ascent's updates as they were with 64 examples" in told
    assert f"and {many} with 1024" in told
    told = words(feasibility.budget.__doc__)
    assert f"{harm('no mask', 64)} of what methods proposed raised the retain loss" in told
    assert f"{harm('budget', 64)} of what passed on 64 examples" in told
    assert f"and {harm('budget', 1024)} on 1024" in told


def test_no_results_are_without_a_page():
    told = {results for results, *_ in PAGES.values()} | {"headline.json"}
    assert {path.name for path in RESULTS.glob("*.json")} <= told
