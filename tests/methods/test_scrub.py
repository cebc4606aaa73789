import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.methods import scrub


def divergence_gradient(moved, params, inputs, temperature, probabilities, by_residual):
    p, q = (probabilities(which, inputs, temperature) for which in (params, moved))
    return by_residual(inputs, temperature * (q - p))


def test_a_min_step_repairs_the_retain_set(
    one_step, params, moved, by_hand, probabilities, by_residual, lone_examples
):
    gradient, result = one_step(scrub(alpha=0.3, gamma=0.7, temperature=2.0), params, begin=moved)
    inputs, label = (part[0] for part in lone_examples["retain"])
    right = by_hand(moved, (inputs, label))
    back = divergence_gradient(moved, params, inputs, 2.0, probabilities, by_residual)
    for name in params:
        expected = 0.7 * right[name] + 0.3 * back[name]
        np.testing.assert_allclose(gradient[name], expected, atol=3e-6)
    assert np.isnan(result.history.losses["forget, to original"]).all()


def test_a_max_step_moves_away_from_the_original_on_the_forget_set(
    one_step, params, moved, probabilities, by_residual, lone_examples
):
    method = scrub(temperature=3.0)._replace(schedule=lambda step, progress: 1)
    gradient, result = one_step(method, params, begin=moved)
    away = divergence_gradient(
        moved, params, lone_examples["forget"].inputs[0], 3.0, probabilities, by_residual
    )
    for name in params:
        np.testing.assert_allclose(gradient[name], -away[name], atol=3e-6)
    assert np.isnan(result.history.losses["retain"]).all()
    assert result.history.losses["forget, to original"] > 0.01


def test_rounds_of_min_and_max_steps_end_with_min_steps_alone(loss, predict, params, sets):
    result = fj.unlearn(
        loss, params, **sets, method=scrub(min_steps=2, max_steps=1, max_until=0.5), steps=12,
        optimizer=optax.sgd(0.1), batch_size=4, predict_fn=predict, progress=False,
    )  # fmt: skip
    acted = np.isfinite(result.history.losses["forget, to original"])
    assert np.flatnonzero(acted).tolist() == [2, 5]
    assert (np.isfinite(result.history.losses["retain"]) == ~acted).all()


def test_it_names_the_predict_fn_that_it_lacks(loss, params, sets):
    with pytest.raises(ValueError, match="pass predict_fn="):
        fj.unlearn(loss, params, **sets, method=scrub(), optimizer=optax.sgd(0.1), steps=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": -1.0},
        {"gamma": float("nan")},
        {"temperature": 0.0},
        {"min_steps": 0},
        {"max_steps": 1.5},
        {"max_until": 1.1},
    ],
)
def test_numbers_outside_their_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        scrub(**wrong)
