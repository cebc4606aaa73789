import numpy as np

from feasible_jax.methods import gradient_ascent


def test_one_step_climbs_the_forget_loss_alone(one_step, params, by_hand, lone_examples):
    gradient, result = one_step(gradient_ascent(), params)
    expected = by_hand(params, [part[0] for part in lone_examples["forget"]])
    for name in params:
        np.testing.assert_allclose(gradient[name], -expected[name], atol=2e-6)
    assert list(result.history.losses) == ["forget"]
