import pytest

from feasible_jax.report.findings import findings, numbers
from feasible_jax.report.groups import Group, group_rows


def arm(name, gaps, forget=88.0, test=81.0, method="NegGrad+"):
    rows = tuple(
        {"seed": i, "avg_gap": gap, "forget_accuracy": forget, "test_accuracy": test}
        for i, gap in enumerate(gaps)
    )
    return Group("random", method, name, name.startswith("feasible"), rows)


def only(*groups):
    [finding] = findings(groups)
    [result] = finding.arms
    return result


@pytest.mark.parametrize(
    ("gaps", "label", "change"),
    [
        ((1.0, 1.2, 1.1), "better", "a change of \N{MINUS SIGN}8.0 ± 0.2 points."),
        ((19.0, 19.2, 19.1), "worse", "a change of +10.0 ± 0.2 points."),
        ((9.0, 9.4, 8.9), "no clear difference", "a change of 0.0 ± 0.7 points."),
    ],
)
def test_win_lose_and_tie(gaps, label, change):
    result = only(arm("plain", (9.0, 9.1, 9.2)), arm("feasible", gaps, 92.0, 86.0))
    assert result.label == label
    assert result.tone == {"better": "better", "worse": "worse"}.get(label, "open")
    assert result.text.startswith("With feasible updates: forget accuracy 92.0, test accuracy 86.0")
    assert change in result.text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("gap", "label"),
    [(1.0, "smaller gap, one seed"), (9.0, "larger gap, one seed"), (5.0, "same gap, one seed")],
)
def test_one_seed_gets_plain_numbers(gap, label):
    result = only(arm("plain", (5.0,)), arm("feasible", (gap,)))
    assert (result.label, result.tone) == (label, "open")
    assert "±" not in result.text
    assert result.text.endswith(f"Avg. Gap {gap}.")


def test_missing_gaps():
    result = only(arm("plain", (None, 5.0)), arm("feasible", (4.0, None)))
    assert result.label == "unknown"
    assert "cannot be compared" in result.text
    partly = only(arm("plain", (None, 5.0, 6.0)), arm("feasible", (4.0, 1.0, 2.0)))
    assert "over the 2 of 3 seeds that have both" in partly.text


def test_missing_accuracies_are_unknown():
    alone = arm("plain", (5.0,), None, None)
    text = "forget accuracy unknown, test accuracy unknown, Avg. Gap 5.0"
    assert numbers(alone, [alone]) == text


def test_a_method_no_closer_than_doing_nothing_is_told_so():
    original = arm("reference", (2.0, 2.0), method="original")
    plain, feasible = arm("plain", (9.0, 9.1)), arm("feasible", (3.0, 3.1))
    assert (
        "no closer to the retrained model than the original" in only(original, plain, feasible).text
    )
    assert "no closer" not in only(original, plain, arm("feasible", (1.0, 1.1))).text


def test_further_arms_are_called_by_their_name():
    groups = [arm("plain", (9.0, 9.1)), arm("feasible", (3.0, 3.1)), arm("feasible, x", (3.0, 3.2))]
    [finding] = findings(groups)
    assert [a.text.split(":")[0] for a in finding.arms] == [
        "With feasible updates",
        "With “feasible, x”",
    ]


def test_without_a_comparison_every_arm_is_told():
    [finding] = findings([arm("random mask", (9.0,)), arm("feasible", (3.0,))])
    assert finding.arms == ()
    assert finding.alone.startswith("With “random mask”: forget accuracy 88.0, ")
    assert "With feasible updates: forget accuracy 88.0, " in finding.alone


def test_wrong_labels_are_called_so(run):
    rows = [row for row in run.rows if row["scenario"] == "corrupted_labels"]
    assert findings(group_rows(rows))[0].alone.startswith("Alone: accuracy on the wrong labels 9.7")


def test_how_far_test_accuracy_fell_stands_beside_it():
    def with_bounds(*bounds):
        group = arm("feasible", (3.0,) * len(bounds), 92.0, 86.0)
        rows = tuple(
            row | {"test_accuracy_fall_bound": b} for row, b in zip(group.rows, bounds, strict=True)
        )
        return numbers(group._replace(rows=rows), [group])

    assert with_bounds(1.18) == (
        "forget accuracy 92.0, test accuracy 86.0 (at most 1.2 points below the original, "
        "95% confidence), Avg. Gap 3.0"
    )
    assert "(at most 2.0 points below the original in every seed, 95%" in with_bounds(1.0, 2.0)
    # Of a seed without a bound nothing can be said.
    assert "original" not in with_bounds(1.0, None)
