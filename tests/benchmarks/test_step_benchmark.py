import importlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def as_a_script(monkeypatch):
    """The import path and the JAX settings that the script has."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_a_smoke_run_times_a_step_and_the_mask(tmp_path, monkeypatch, quick_compilation):
    whole = importlib.import_module("step_whole")
    arms = {name: whole.ARMS[name] for name in ("plain", "certified")}
    monkeypatch.setattr(whole, "ARMS", arms)
    alone = importlib.import_module("step_transformation")
    monkeypatch.setattr(alone, "RULES", {alone.DEFAULT: alone.RULES[alone.DEFAULT]})
    monkeypatch.setattr(importlib.import_module("step_scaling"), "cells", lambda _: [a_count()])
    results, table = tmp_path / "r.json", tmp_path / "t.md"
    args = ["--smoke", "--results", str(results), "--table", str(table)]
    kinds = ["--kinds", "whole", "transformation", "scaling"]
    importlib.import_module("step").main([*args, *kinds])

    parts = json.loads(results.read_text())["parts"]
    plain, certified = parts["whole/mlp"]
    assert plain["ratio"] == 1
    assert certified["ratio"] == pytest.approx(certified["seconds"] / plain["seconds"])
    assert certified["certificate_tests"] >= 1
    mask, beside = parts["transformation/8000"]
    # Five arrays in, one out, and a few scalars.
    assert beside["moved_bytes"] == pytest.approx(6 * 4 * 8000, rel=0.01)
    assert mask["moved_bytes"] == pytest.approx(beside["moved_bytes"], rel=0.01)
    page = table.read_text()
    for heading in ("Whole steps", "The transformation alone", "What a mesh adds"):
        assert f"## {heading}" in page
    assert "the figures mean nothing" in page


def a_count():
    about = {"model": "mlp", "title": "MLP", "parameters": 250, "arm": "plain", "devices": 4}
    about |= {"batch_size": 4, "flops": 2e9, "bytes_accessed": 1e6}
    return about | {"collectives": {"all-reduce": 1000}, "sent_bytes": 1500.0}


def test_a_plain_step_reduces_one_gradient(quick_compilation):
    count = importlib.import_module("step_scaling").count
    alone, four = (count("mlp", True, "plain", devices, 4) for devices in (1, 4))
    assert alone["collectives"] == {}
    assert alone["sent_bytes"] == 0
    reduced = sum(four["collectives"].values())
    assert reduced == 4 * four["parameters"]
    assert four["sent_bytes"] == 1.5 * reduced


def test_a_feasible_step_reduces_two_moments_of_two_sets(quick_compilation):
    count = importlib.import_module("step_scaling").count
    two, four = (count("mlp", True, "feasible", devices, 4) for devices in (2, 4))
    assert two["collectives"] == four["collectives"]
    # And a count of examples here and there.
    reduced = sum(four["collectives"].values())
    assert reduced == pytest.approx(4 * 4 * four["parameters"], abs=16)
    assert four["flops"] == pytest.approx(two["flops"], rel=0.01)


def test_collectives_are_read_off_a_program():
    collectives = importlib.import_module("step_collectives")
    program = """
      %r = (f32[2,3]{1,0}, f32[]) all-reduce(%a, %b), replica_groups={{0,1}}, to_apply=%add
      %s = bf16[8]{0} all-gather(%c), dimensions={0}
      %t = f32[9]{0} add(%all-reduce.1, %d)
    """
    found = collectives.collective_bytes(program)
    assert found == {"all-reduce": 28, "all-gather": 16}
    assert collectives.sent_bytes(found, 4) == 28 * 1.5 + 16 * 0.75


def test_the_rules_are_divided_by_coordinatewise_on_the_same_evidence(monkeypatch):
    rules = importlib.import_module("step_rules")
    times = iter([2.0, 3.0, 8.0, 4.0])
    for costly in ("_prepare", "propose", "propose_per_example"):
        monkeypatch.setattr(rules, costly, lambda *_: None)
    monkeypatch.setattr(
        rules, "timed", lambda ready, seconds: {n: {"seconds": next(times)} for n in ready}
    )
    families = {0.0: ["a", "b"], 0.9: ["a", "c"]}
    monkeypatch.setattr(
        rules, "FAMILIES", {d: dict.fromkeys(names) for d, names in families.items()}
    )
    assert [row["ratio"] for row in rules.cells(8000, 0)] == [1, 1.5, 1, 0.5]


def test_random_evidence_has_the_size_asked_for():
    evidence = importlib.import_module("step_evidence")
    proposed = evidence.propose(16_000)
    for tree in (proposed.updates, proposed.params, proposed.evidence["forget"].variance):
        assert sum(leaf.size for leaf in jax.tree.leaves(tree)) == 16_000
    assert all(jnp.all(leaf >= 0) for leaf in jax.tree.leaves(proposed.evidence["retain"].variance))
    with pytest.raises(ValueError, match="multiple of 8000"):
        evidence.propose(100)


def test_unknown_kinds_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="no kind 'speed'"):
        importlib.import_module("step").main(["--kinds", "speed"])
