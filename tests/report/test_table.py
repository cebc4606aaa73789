import pytest

from feasible_jax.report.groups import by_scenario, group_rows
from feasible_jax.report.table import build_table


@pytest.fixture(scope="module")
def tables(run):
    return {s: build_table(g) for s, g in by_scenario(group_rows(run.rows)).items()}


def column(table, head):
    index = [c.head for c in table.columns].index(head)
    return {(row.method, row.arm): row.cells[index] for row in table.rows}


def test_references_come_first(tables):
    rows = tables["random"].rows
    assert [row.method for row in rows[:3]] == ["original", "retrained", "gradient ascent"]
    assert [name for name, _ in tables["random"].bodies][2:] == [
        "gradient ascent",
        "NegGrad+",
        "random labels",
        "l1-sparse",
    ]


def test_wrong_labels_have_both_accuracies(tables):
    heads = [c.head for c in tables["corrupted_labels"].columns]
    assert heads[:2] == ["Forget acc. (wrong labels)", "True-label acc."]
    assert "True-label acc." not in [c.head for c in tables["random"].columns]


def test_asterisks_stand_where_the_paired_interval_excludes_zero(tables):
    gaps = column(tables["random"], "Avg. Gap")
    assert {key for key, cell in gaps.items() if cell.mark == "*"} == {
        ("gradient ascent", "feasible"),
        ("random labels", "feasible"),
    }
    assert any("excludes 0" in line for line in tables["random"].caption)


def test_one_seed_says_so_and_has_neither_intervals_nor_asterisks(one_seed):
    table = build_table(group_rows(one_seed.rows))
    assert table.caption[0].startswith("One seed: no intervals")
    assert not any("*" in line for line in table.caption)
    assert all(cell.half_width is None and not cell.mark for r in table.rows for cell in r.cells)


def test_missing_seeds_are_counted_and_explained(tables):
    cells = column(tables["corrupted_labels"], "MIA AUC")
    assert cells["l1-sparse", "plain"].mark == "(2/3)"
    assert any("(2/3)" in line for line in tables["corrupted_labels"].caption)
    assert not any("(2/3)" in line for line in tables["random"].caption)


def test_notes_name_their_run(tables):
    assert tables["corrupted_labels"].notes[0] == (
        "gradient ascent, plain, seed 1: a loss was not finite after 41 steps"
    )


def test_unequal_numbers_of_seeds_are_said(run):
    rows = [row for row in run.rows if row["scenario"] == "random" and row["seed"] < 2]
    rows += [row for row in run.rows if row["scenario"] == "random" and row["seed"] == 2][:2]
    assert "2 to 3 seeds" in build_table(group_rows(rows)).caption[0]


def test_the_largest_fall_of_test_accuracy_over_seeds(run, tables, one_seed):
    head = "TA fell \N{LESS-THAN OR EQUAL TO}"
    cells = column(tables["random"], head)
    assert cells["original", "reference"].value == "\N{EN DASH}"
    bounds = [
        row["test_accuracy_fall_bound"]
        for row in run.rows
        if (row["scenario"], row["method"], row["arm"]) == ("random", "NegGrad+", "plain")
    ]
    assert max(bounds) <= float(cells["NegGrad+", "plain"].value) < max(bounds) + 0.1
    assert cells["NegGrad+", "plain"].half_width is None
    [line] = [line for line in tables["random"].caption if head in line]
    assert line.endswith("(negative: above it) in every seed, each with 95% confidence.")
    [line] = [line for line in build_table(group_rows(one_seed.rows)).caption if head in line]
    assert line.endswith("(negative: above it), with 95% confidence.")


def test_rows_without_a_bound_have_no_column_for_it(run):
    rows = [
        {name: value for name, value in row.items() if name != "test_accuracy_fall_bound"}
        for row in run.rows
    ]
    table = build_table(group_rows(rows)[:3])
    assert not any("fell" in c.head for c in table.columns)
    assert not any("fell" in line for line in table.caption)
