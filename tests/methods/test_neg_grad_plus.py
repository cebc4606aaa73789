import numpy as np
import pytest

from feasible_jax.methods import neg_grad_plus


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.95, 1.0])
def test_one_step_weighs_both_sets(weight, one_step, params, by_hand, lone_examples):
    gradient, result = one_step(neg_grad_plus(weight), params)
    forget = by_hand(params, [part[0] for part in lone_examples["forget"]])
    retain = by_hand(params, [part[0] for part in lone_examples["retain"]])
    for name in params:
        expected = weight * retain[name] - (1 - weight) * forget[name]
        np.testing.assert_allclose(gradient[name], expected, atol=2e-6)
    assert set(result.history.losses) == {"forget", "retain"}


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_outside_the_unit_interval_is_refused(weight):
    with pytest.raises(ValueError, match="retain_weight"):
        neg_grad_plus(weight)
