from feasible_jax.report.headline.tables import headline_tables


def table(rows, title):
    (found,) = [t for t in headline_tables(rows, rows) if t.title.startswith(title)]
    return found, {row[0]: dict(zip(found.head[1:], row[1:], strict=True)) for row in found.rows}


def test_gains_by_scenario_and_over_all(rows):
    _, cells = table(rows, "Unlearning accuracy gained")
    assert cells["feasible"]["Random examples"].startswith("+6.0 ±")
    assert cells["feasible"]["All"].startswith("+6.0 ±")
    assert cells["random mask"]["All"].startswith("-1.5 ±")
    assert cells["feasible"]["TA gained"] == "+0.0 ± 0.0"
    assert cells["feasible"]["TA lost"] == "+0.2 ± 0.0"


def test_the_original_model_has_lost_nothing(rows):
    for row in rows:
        row |= {"steps": 0, "test_accuracy_fall": None}
    _, cells = table(rows, "Unlearning accuracy gained")
    assert cells["feasible"]["TA lost"] == "+0.0 ± 0.0"


def test_methods_stand_beside_their_plain_form(rows):
    _, cells = table(rows, "The same, by method")
    assert cells["SalUn"]["Plain UA"] == "12.0"
    assert cells["SalUn"]["feasible"] == "+8.0"
    assert cells["NegGrad+"]["random mask"] == "-1.0"


def test_gaps_hold_the_references_and_the_best_method(rows):
    rows[-1]["avg_gap"] = 0.1  # of SalUn, random mask, class
    found, cells = table(rows, "Avg. Gap")
    assert found.rows[0][:2] == ("original", "5.0")
    assert found.rows[1][:2] == ("retrained", "0.0")
    assert cells["feasible"]["Random examples"].startswith("1.0 ±")
    mean = (4 * 2.25 + 0.1) / 5
    assert found.rows[-1] == (
        "random mask", "2.2 ± 0.0", "2.25 (NegGrad+)", found.rows[-1][3], f"{mean:.2f} (SalUn)",
    )  # fmt: skip


def test_configurations_are_judged_by_their_seeds(rows):
    _, cells = table(rows, "Configurations improved")
    assert cells["UA at equal utility: feasible"]["Improved"] == "100%"
    assert cells["UA at equal utility: random mask"]["Worse"] == "100%"
    assert cells["Avg. Gap: feasible"]["Pairs better / worse / tied"] == "20 / 0 / 0"


def test_costs_are_those_of_a_step_and_of_a_run_over_the_plain_form(rows):
    rows[5]["steps"] = 100  # at which look a run was kept makes no difference
    _, cells = table(rows, "Cost")
    assert list(cells["plain"].values()) == ["1.00", "1.00", "1.00", "10.0%"]
    assert list(cells["feasible"].values()) == ["2.00", "1.50", "1.50", "10.0%"]


def test_the_methods_stand_below_the_reference_models(rows):
    found, _ = table(rows, "The same, by method")
    assert [row[0] for row in found.rows] == ["original", "retrained", "NegGrad+", "SalUn"]
    assert found.rows[0][1].startswith("10.0")


def test_runs_that_lost_more_than_half_a_point_are_counted(rows):
    ours = [row for row in rows if row["arm"] == "feasible"]
    for row in ours[:5]:
        row["test_accuracy_fall"] = 0.6
    ours[5] |= {"test_accuracy_fall": 0.6, "steps": 0}  # the original model still
    _, cells = table(rows, "Unlearning accuracy gained")
    assert cells["feasible"]["over 0.5"] == "25%"
    assert cells["random mask"]["over 0.5"] == "0%"


def test_runs_shown_to_have_lost_no_more_are_counted(rows):
    _, cells = table(rows, "Unlearning accuracy gained")
    assert cells["feasible"]["shown"] == "", "rows of older runs say nothing"
    ours = [row for row in rows if row["arm"] == "feasible"]
    for row in ours:
        row["test_accuracy_fall_p"] = 0.2
    for row in ours[:4]:
        row["test_accuracy_fall_p"] = 0.05
    ours[4] |= {"test_accuracy_fall_p": None, "steps": 0}  # the original model still
    _, cells = table(rows, "Unlearning accuracy gained")
    assert cells["feasible"]["shown"] == "25%"


def test_what_nothing_masks_is_a_row_to_compare_with_and_in_no_mean(rows):
    before = {t.title: t for t in headline_tables(rows, rows)}
    plain = [row for row in rows if (row["method"], row["arm"]) == ("SalUn", "plain")]
    figures = {"avg_gap": 9.0, "unlearning_accuracy": 70.0, "rte_ratio": 0.5}
    rows += [row | {"method": "SSD"} | figures for row in plain]
    _, cells = table(rows, "The same, by method")
    assert list(cells["SSD"].values()) == ["70.0", "", ""]
    assert table(rows, "Avg. Gap")[0].rows[-1] == ("SSD", "9.0", "9.00", "9.0", "9.00")
    _, cells = table(rows, "Cost")
    assert list(cells["SSD"].values()) == ["", "", "", "50.0%"]
    for after in headline_tables(rows, rows):
        others = [row for row in after.rows if row[0] != "SSD"]
        assert others == list(before[after.title].rows), after.title


def test_several_datasets_have_a_column_each(rows):
    titles = [found.title for found in headline_tables(rows, rows)]
    assert "The same, by dataset and model" not in titles
    rows += [
        row | {"dataset": "faces", "model": "cnn", "unlearning_accuracy": 10.0 + row["seed"]}
        for row in rows
    ]
    found, cells = table(rows, "The same, by dataset and model")
    assert found.head == ("Arm", "digits, mlp", "faces, cnn")
    assert cells["feasible"]["digits, mlp"].startswith("+6.0 ±")
    assert cells["feasible"]["faces, cnn"] == "+0.0 ± 0.0"


def test_a_method_may_be_masked_on_one_dataset_and_plain_alone_on_another(rows):
    before = {t.title: t for t in headline_tables(rows, rows)}
    bare = [row | {"dataset": "faces", "unlearning_accuracy": 99.0} for row in rows
            if row["arm"] == "plain"]  # fmt: skip
    after = {t.title: t for t in headline_tables([*rows, *bare], [*rows, *bare])}
    ran_masked = [row for row in after["The same, by method"].rows if row[1] != "99.0"]
    assert ran_masked == list(before["The same, by method"].rows)
    assert [title for title in after if title.startswith("Avg. Gap")] == [
        "Avg. Gap to the retrained model: digits, mlp",
        "Avg. Gap to the retrained model: faces, mlp",
    ]
    assert (
        after["Avg. Gap to the retrained model: digits, mlp"].rows
        == before["Avg. Gap to the retrained model"].rows
    )


def test_costs_and_targets_are_those_of_each_dataset(rows):
    other = [row | {"dataset": "faces", "avg_gap": 1.25} for row in rows]
    for row in other:
        row["run_seconds"] = 2.0 if row["arm"] == "plain" else 8.0
    both = [*rows, *other]
    _, cells = table(both, "Cost: faces, mlp")
    assert list(cells["feasible"].values())[1:3] == ["4.00", "4.00"]
    _, cells = table(both, "Cost: digits, mlp")
    assert list(cells["feasible"].values())[1:3] == ["1.50", "1.50"]
    _, cells = table(both, "Targets")
    aims = {name: row["feasible"] for name, row in cells.items()}
    assert aims["Run time over the plain form: at most 2"] == "1.50 and 4.00, missed"
    assert aims["Avg. Gap of the best method, random forgetting: at most 1.5"] == (
        "1.00 and 1.25, met"
    )
