import numpy as np

from feasible_jax.methods import fine_tuning


def test_one_step_descends_the_retain_loss_alone(one_step, params, by_hand, lone_examples):
    gradient, result = one_step(fine_tuning(), params)
    expected = by_hand(params, [part[0] for part in lone_examples["retain"]])
    for name in params:
        np.testing.assert_allclose(gradient[name], expected[name], atol=2e-6)
    assert list(result.history.losses) == ["retain"]
