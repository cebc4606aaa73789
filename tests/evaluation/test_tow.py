import pytest

from feasible_jax.evaluation import TOW_METRICS, tug_of_war


def row(*values):
    return dict(zip(TOW_METRICS, values, strict=True))


def test_the_retrained_model_scores_one():
    assert tug_of_war(row(94.8, 100.0, 94.4), row(94.8, 100.0, 94.4)) == 1.0


def test_by_hand():
    value = tug_of_war(row(90.0, 100.0, 70.0), row(80.0, 95.0, 90.0))
    assert value == pytest.approx(0.9 * 0.95 * 0.8)


def test_forgetting_too_much_costs_as_much_as_too_little():
    target = row(50.0, 100.0, 90.0)
    assert tug_of_war(row(30.0, 100.0, 90.0), target) == tug_of_war(row(70.0, 100.0, 90.0), target)


@pytest.mark.parametrize("name", TOW_METRICS)
def test_one_hopeless_set_leaves_nothing(name):
    target = row(100.0, 100.0, 100.0)
    assert tug_of_war(target | {name: 0.0}, target) == 0.0


def test_a_missing_accuracy_is_named():
    with pytest.raises(KeyError, match="test_accuracy"):
        tug_of_war({"forget_accuracy": 1.0, "retain_accuracy": 1.0}, row(1.0, 1.0, 1.0))
