import numpy as np
import pytest

from feasible_jax.methods import sim_npo


@pytest.mark.parametrize("margin", [0.0, 1.5])
def test_one_step_weighs_an_example_by_its_own_loss(
    margin, one_step, params, by_hand, lone_examples
):
    beta, gamma, alpha = 2.0, 0.7, 0.3
    step, result = one_step(sim_npo(beta, margin, gamma, alpha), params)
    forget, retain = ([part[0] for part in lone_examples[s]] for s in ("forget", "retain"))
    climb, descend = by_hand(params, forget), by_hand(params, retain)
    probability = 1 + climb["b"][int(forget[1])]  # the residual is p - 1 at the label
    weight = 2 / (1 + np.exp(beta * (-np.log(probability) - margin)))
    for name in params:
        expected = -gamma * weight * climb[name] + alpha * descend[name]
        np.testing.assert_allclose(step[name], expected, atol=3e-6)
    loss = 2 / beta * np.log1p(np.exp(-beta * (-np.log(probability) - margin)))
    np.testing.assert_allclose(result.history.losses["forget, SimNPO"], [loss], rtol=1e-5)


def test_values_out_of_range_are_refused():
    with pytest.raises(ValueError, match="beta=-1"):
        sim_npo(-1)
