from feasible_jax.report.headline.targets import target_table


def test_targets_are_met_or_missed(rows):
    found = target_table(rows, rows)
    cells = {row[0]: dict(zip(found.head[1:], row[1:], strict=True)) for row in found.rows}
    assert found.head == ("Target", "feasible", "random mask")
    ours = [cells[row[0]]["feasible"] for row in found.rows]
    assert ours == [
        "+6.0, missed", "+0.25, met", "0 and 0, met", "1.00, met", "1.50, met", "10.0%, met",
    ]  # fmt: skip
    control = [cells[row[0]]["random mask"] for row in found.rows]
    assert control[2] == "4 and 4, missed"


def test_runs_that_were_not_timed_are_judged_by_the_rest(rows):
    for row in rows:
        row |= {"run_seconds": None, "rte_ratio": None}
    found = target_table(rows, rows)
    assert [row[1] for row in found.rows[-2:]] == ["", ""]
    assert found.rows[1][1] == "+0.25, met"
