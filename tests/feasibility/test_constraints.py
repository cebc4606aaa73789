import pytest

from feasible_jax.feasibility.constraints import Constraint, parse_constraints


def test_order_is_decrease_then_increase():
    assert parse_constraints(("retain", "prior"), ["forget"]) == (
        Constraint("retain", 1.0),
        Constraint("prior", 1.0),
        Constraint("forget", -1.0),
    )


def test_a_single_name_needs_no_tuple():
    assert parse_constraints("retain", ()) == (Constraint("retain", 1.0),)


@pytest.mark.parametrize(
    ("decrease", "increase", "words"),
    [
        ((), (), "no constraints.*decrease="),
        (("a", "a"), (), "'a' is named twice"),
        (("a",), ("a",), "'a' is named twice"),
        (("not a name",), (), "'not a name' is not a name.*keyword"),
        ((3,), (), "3 is not a name"),
        (("",), (), "'' is not a name"),
        (("params",), (), r"'params' is an argument of update\(\)"),
        ((), ("updates",), "'updates' is an argument"),
        ((), ("state",), "'state' is an argument"),
    ],
)
def test_what_is_wrong_is_said(decrease, increase, words):
    with pytest.raises(ValueError, match=words):
        parse_constraints(decrease, increase)
