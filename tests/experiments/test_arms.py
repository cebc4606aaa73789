import jax.numpy as jnp
import pytest

from feasible_jax.experiments.arms import ARMS, METHODS, make_feasibility, make_method, pace_of
from feasible_jax.methods.method import check_method
from feasible_jax.unlearning.step import certificate_states, feasibility_states


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_valid_and_made_once(name):
    check_method(make_method(name, 10))
    assert make_method(name, 10) is make_method(name, 10)


@pytest.mark.parametrize("name", ARMS)
def test_arms_are_made_once_and_all_but_plain_ask_the_same(name):
    tx = make_feasibility(name, 0.4)
    assert tx is make_feasibility(name, 0.4)
    if name == "plain":
        assert tx is None
    else:
        (masked,) = feasibility_states(tx.init(jnp.zeros(2)))
        asked = [(c.name, c.sign) for c in masked.requires.constraints]
        assert asked == [("retain", 1), ("forget", -1)]
        certificates = certificate_states(tx.init(jnp.zeros(2)))
        assert len(certificates) == ARMS[name].certified


def test_one_step_is_all_that_a_one_shot_method_takes():
    one_shot = {name for name in METHODS if pace_of(name).steps == 1}
    assert one_shot == {"fisher_forgetting", "influence_unlearning", "ssd"}
    assert {pace_of(name) for name in one_shot} == {(1.0, 1, "sgd")}
    assert {pace_of(name).steps for name in METHODS} == {1, 100}


def test_scrub_and_scrub_r_run_with_adam_and_all_others_with_sgd():
    adam = {name for name in METHODS if pace_of(name).optimizer == "adam"}
    assert adam == {"scrub", "scrub_r"}
    assert pace_of("scrub_r") == pace_of("scrub")


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="amnesiac, bad_teacher"):
        make_method("ascent", 10)
    with pytest.raises(ValueError, match="plain, feasible"):
        make_feasibility("masked")
