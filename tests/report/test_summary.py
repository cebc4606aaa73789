from feasible_jax.report.groups import Group, group_rows
from feasible_jax.report.summary import lead, summarise


def arms(plain, feasible, method="NegGrad+"):
    def group(name, gaps):
        rows = tuple({"seed": i, "avg_gap": gap} for i, gap in enumerate(gaps))
        return Group("random", method, name, name == "feasible", rows)

    return [group("plain", plain), group("feasible", feasible)]


def test_the_lead_counts_wins_losses_and_ties(run):
    assert lead(group_rows(run.rows)).endswith(
        "Of 8 comparisons in 2 scenarios, feasible updates came closer to that model in 5, ended "
        "further away in 1 and made no clear difference in 2 (95% intervals, paired over seeds)."
    )


def test_the_lead_says_when_feasible_is_worse():
    assert "came closer to that model in 0, ended further away in 1" in lead(
        arms((1.0, 1.1), (9.0, 9.1))
    )


def test_the_lead_counts_what_cannot_be_judged():
    groups = arms((1.0, 1.1), (None, None)) + arms((1.0, 1.1), (9.0, 9.1), "l1-sparse")
    assert "and cannot be judged in 1 (" in lead(groups)


def test_one_seed_claims_nothing():
    text = lead(arms((5.0,), (1.0,)))
    assert "had the smaller gap in 1 and the larger in 0." in text
    assert "no interval can tell a difference from chance" in text
    assert "closer" not in text


def test_references_come_with_their_numbers(run):
    first = summarise(group_rows(run.rows))[0]
    assert first.title == "Random examples"
    assert first.references == (
        "Original model: forget accuracy 99.6, test accuracy 85.8, Avg. Gap 5.1. "
        "Retrained, the target: forget accuracy 90.7, test accuracy 86.6 (at least 0.2 points "
        "above the original in every seed, 95% confidence each)."
    )
    assert len(first.findings) == 4


def test_a_scenario_without_references_or_comparisons():
    [summary] = summarise(arms((1.0,), (1.0,))[:1])
    assert summary.references == ""
    assert [finding.arms for finding in summary.findings] == [()]
