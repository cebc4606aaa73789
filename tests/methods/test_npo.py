import jax
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.methods import npo


def cross_entropy(params, example):
    logits = np.asarray(example[0], np.float64) @ np.asarray(params["w"], np.float64)
    logits = logits + np.asarray(params["b"], np.float64)
    return np.log(np.exp(logits).sum()) - logits[int(example[1])]


def test_two_steps_by_hand(loss, params, by_hand, lone_examples):
    """The first is plain ascent, with a retain step; the second's ascent is already weaker."""
    beta, gamma, alpha = 2.0, 0.7, 0.3
    forget, retain = ([part[0] for part in lone_examples[s]] for s in ("forget", "retain"))
    here = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
    losses = []
    for _ in range(2):
        risen = cross_entropy(here, forget) - cross_entropy(params, forget)
        losses.append(2 / beta * np.log1p(np.exp(-beta * risen)))
        weight = 2 / (1 + np.exp(beta * risen))
        climb, descend = by_hand(here, forget), by_hand(here, retain)
        here = {n: here[n] + gamma * weight * climb[n] - alpha * descend[n] for n in here}
    assert losses[1] < losses[0] == np.log(2)
    result = fj.unlearn(
        loss, params, **lone_examples, method=npo(beta, gamma, alpha), optimizer=optax.sgd(1.0),
        steps=2, batch_size=3, progress=False,
    )  # fmt: skip
    np.testing.assert_allclose(result.history.losses["forget, NPO"], losses, rtol=1e-5)
    for name in params:
        np.testing.assert_allclose(result.params[name], here[name], atol=5e-6)


def test_at_a_beta_near_zero_it_is_ascent_without_end(one_step, params, by_hand, lone_examples):
    step, _ = one_step(npo(1e-3, 1.0, 0.0), params)
    expected = by_hand(params, [part[0] for part in lone_examples["forget"]])
    np.testing.assert_allclose(step["b"], -expected["b"], atol=1e-5)


@pytest.mark.parametrize("risen", [-1e4, -50.0, 50.0, 1e4])
def test_no_loss_is_too_far_from_the_first_one(risen):
    objective = npo(beta=3.0).objectives[0]
    problem = fj.methods.Problem(lambda params, example: params, None, np.float32(0.0))
    value, slope = jax.value_and_grad(lambda p: objective.loss(problem, p, None, None))(
        np.float32(risen)
    )
    np.testing.assert_allclose(value, max(-2 * risen, 0), atol=1e-5)
    np.testing.assert_allclose(slope, -2.0 if risen < 0 else 0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [((0.0,), "beta=0.0"), ((1.0, -1.0), "forget_weight=-1"), ((1.0, 1.0, -1.0), "retain_weight")],
)
def test_values_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        npo(*settings)
