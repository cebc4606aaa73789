from feasible_jax.report import Run, markdown_table


def test_every_line_of_a_table_has_the_same_cells(run):
    text = markdown_table(run)
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 2
    for table in tables:
        assert len({line.count(" | ") for line in table.splitlines()}) == 1
    assert "| gradient ascent | feasible | 92.8±0.5 |" in text


def test_asterisks_are_no_emphasis(run):
    text = markdown_table(run)
    assert r"1.8±0.5\* |" in text
    assert r"\* Avg. Gap differs" in text


def test_names_cannot_break_the_table(one_seed):
    rows = [row | {"scenario": "a|b\n<i>", "method": "m|n"} for row in one_seed.rows[:1]]
    text = markdown_table(Run(rows, {}, {}, ""))
    assert r"**a\|b \<i\>**" in text
    assert r"| m\|n |" in text


def test_nothing_in_nothing_out():
    assert markdown_table(Run([], {}, {}, "")) == ""
