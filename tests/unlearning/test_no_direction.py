import numpy as np
import pytest

from feasible_jax.unlearning.history import Certificates, History
from feasible_jax.unlearning.no_direction import no_direction

EARLY = 7


def history(kept=0.0, rates=(), leaves=(), p_values=None):
    """A run of 7 steps that went well, and of 5 that did not."""

    def then(value):
        return np.concatenate([np.ones(EARLY), np.full(5, value)])

    certificates = None
    if p_values is not None:
        certificates = Certificates(
            then(0.0) > 0, then(0.0), then(0.05), {n: then(p) for n, p in p_values.items()}
        )
    return History(
        {}, then(kept), {n: then(v) for n, v in leaves}, {n: then(v) for n, v in rates},
        then(0.0) == 0, certificates,
    )  # fmt: skip


def test_it_names_the_constraint_and_the_leaf_of_the_last_steps():
    got = no_direction(
        history(rates=[("forget", 0.4), ("retain", 0.1)], leaves=[("a", 0.0), ("b/w", 0.2)]), 5
    )
    assert got == "no feasible direction in 5 steps in a row: retain constraint, leaf a"


def test_parameters_without_a_name_have_no_leaf_to_name():
    got = no_direction(history(rates=[("retain", 0.1)], leaves=[("", 0.0)]), 5)
    assert got == "no feasible direction in 5 steps in a row: retain constraint"


def test_where_the_mask_left_something_it_is_the_certificate():
    rates = [("retain", 0.1)]
    p_values = {"retain": 0.3, "group": 0.7}
    got = no_direction(history(0.5, rates, [("a", 0.5), ("b", 0.2)], p_values), 5)
    want = "group constraint, whose certificate did not pass (median p 0.7, level 0.05), leaf b"
    assert got.endswith(want)
    masked_away = no_direction(history(0.0, rates, [("a", 0.0)], p_values), 5)
    assert masked_away.endswith(": retain constraint, leaf a")


def test_a_certificate_alone_has_no_leaf():
    got = no_direction(history(1.0, p_values={"retain": 0.3}), 5)
    assert got.endswith("(median p 0.3, level 0.05)")


@pytest.mark.parametrize("patience", [1, 5])
def test_a_method_that_stands_still_is_told_so(patience):
    assert no_direction(history(1.0), patience).endswith("the method's own updates were zero")
