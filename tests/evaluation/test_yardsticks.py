from dataclasses import replace

from feasible_jax.evaluation import YARDSTICKS, compare, evaluate

ON_REQUEST = [
    "u_lira",
    "u_lira_auc",
    "u_lira_share",
    "forgetting_quality",
    "forget_klom",
    "test_klom",
    "relearn_steps",
]


def test_every_column_of_a_row_is_described_and_no_other(memorised):
    task = replace(memorised, forget_true_labels=memorised.forget.labels)
    row = evaluate(task, task.params)
    columns = set(compare(row, row)) - {"seconds"}
    assert [y.name for y in YARDSTICKS if y.name not in columns] == ON_REQUEST
    assert [y.name for y in YARDSTICKS if y.on_request] == ON_REQUEST
    assert columns - {y.name for y in YARDSTICKS} == set()


def test_names_and_labels_are_unique():
    for field in ("name", "label"):
        values = [getattr(yardstick, field) for yardstick in YARDSTICKS]
        assert len(values) == len(set(values))


def test_every_yardstick_says_where_it_wants_to_be():
    for yardstick in YARDSTICKS:
        to_retrained = yardstick.direction.startswith("target: the retrained model's value")
        assert to_retrained or yardstick.direction.startswith(("higher is", "lower is"))
        assert "target: " in yardstick.direction
        assert yardstick.description.endswith(".")
        assert yardstick.unit in ("%", "points", "nats", "min", "steps", "")
