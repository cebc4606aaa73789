import pytest

from feasible_jax.report.groups import by_method, by_scenario, find, group_rows


def row(method, arm, seed=0, scenario="random"):
    feasible = arm.startswith("feasible")
    return {
        "scenario": scenario,
        "method": method,
        "arm": arm,
        "seed": seed,
        "feasible": feasible,
    }


def test_table_order_whatever_the_order_of_the_rows():
    arms = ["feasible", "feasible, curvature", "projection", "sign mask", "plain", "random mask"]
    rows = [row("NegGrad+", arm) for arm in arms]
    rows += [row("retrained", "reference"), row("l1-sparse", "plain"), row("original", "reference")]
    groups = group_rows(rows)
    assert [(g.method, g.arm) for g in groups] == [
        ("original", "reference"),
        ("retrained", "reference"),
        ("NegGrad+", "plain"),
        ("NegGrad+", "random mask"),
        ("NegGrad+", "sign mask"),
        ("NegGrad+", "projection"),
        ("NegGrad+", "feasible"),
        ("NegGrad+", "feasible, curvature"),
        ("l1-sparse", "plain"),
    ]
    assert list(by_method(groups)) == ["NegGrad+", "l1-sparse"]


def test_scenarios_stay_as_they_first_appear():
    rows = [row("original", "reference", scenario=s) for s in ("class", "random", "class again")]
    assert list(by_scenario(group_rows(rows))) == ["class", "random", "class again"]


def test_seeds_are_gathered_and_sorted():
    [group] = group_rows([row("NegGrad+", "plain", seed) for seed in (10, 2, 7)])
    assert [r["seed"] for r in group.rows] == [2, 7, 10]


def test_a_repeated_row_is_refused():
    with pytest.raises(ValueError, match=r"row 1 is the second one of \['random', 'NegGrad\+'"):
        group_rows([row("NegGrad+", "plain"), row("NegGrad+", "plain") | {"dataset": "other"}])


@pytest.mark.parametrize("key", ["scenario", "method", "arm", "seed"])
def test_a_missing_key_is_named(key):
    with pytest.raises(ValueError, match=f"row 0 has no '{key}'"):
        group_rows([row("NegGrad+", "plain") | {key: None}])


def test_find():
    groups = group_rows([row("NegGrad+", "plain"), row("NegGrad+", "feasible")])
    assert find(groups, arm="feasible") is groups[1]
    assert find(groups, arm="none") is None
