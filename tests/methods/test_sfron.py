import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.methods import Problem, sfron


def masks(params, sets, by_hand):
    """F_f >= F_r by the mean of squared per-example gradients, in float64."""
    squares = {
        side: {
            name: np.mean([by_hand(params, e)[name] ** 2 for e in zip(*examples, strict=True)], 0)
            for name in params
        }
        for side, examples in sets.items()
    }
    return {name: squares["forget"][name] >= squares["retain"][name] for name in params}


def test_the_first_step_climbs_what_matters_to_the_forget_set(
    loss, params, sets, by_hand, lone_examples
):
    """One forget example and twenty to retain, so the mask and the step are known by hand."""
    wrong = lone_examples["forget"]._replace(labels=np.array([0]))
    data = {"forget": wrong, "retain": sets["retain"]}
    mask = masks(params, data, by_hand)
    assert 0 < sum(m.sum() for m in mask.values()) < 15
    result = fj.unlearn(
        loss, params, **data, method=sfron(ascent_weight=0.5), optimizer=optax.sgd(1.0), steps=1,
        batch_size=3, progress=False,
    )  # fmt: skip
    gradient = by_hand(params, [part[0] for part in data["forget"]])
    cross_entropy = -np.log(1 + gradient["b"][0])
    for name in params:
        moved = np.asarray(result.params[name], np.float64) - np.asarray(params[name], np.float64)
        expected = mask[name] * 0.5 * cross_entropy**-0.5 * gradient[name]
        np.testing.assert_allclose(moved, expected, atol=3e-6)
        assert (moved[~mask[name]] == 0).all()


def test_repair_follows_each_ascent_whose_weight_fades(loss, params, sets):
    method = sfron(repair_steps=2, ascent_weight=3.0)
    losses = fj.unlearn(
        loss, params, **sets, method=method, optimizer=optax.sgd(0.01), steps=6, batch_size=4,
        progress=False,
    ).history.losses  # fmt: skip
    climbs = [True, False, False, True, False, False]
    assert np.isfinite(losses["forget, adaptive"]).tolist() == climbs
    assert np.isnan(losses["retain"]).tolist() == climbs
    fading = method.weights[0]
    weights = [float(fading(jnp.float32(progress))) for progress in (0.0, 0.5, 0.75)]
    np.testing.assert_allclose(weights, [-3, -1.5, -1.5 * (1 - np.sqrt(0.5))], rtol=1e-5)


@pytest.mark.parametrize("mask_repair", [False, True])
def test_repair_is_masked_on_demand_alone(mask_repair, loss, params, uneven_sets, by_hand):
    """Where it is, neither momentum nor weight decay moves what the retain set needs more."""
    sets, mask = uneven_sets, masks(params, uneven_sets, by_hand)
    optimizer = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9))
    result = fj.unlearn(
        loss, params, **sets, method=sfron(repair_steps=1, mask_repair=mask_repair),
        optimizer=optimizer, steps=4, batch_size=4, progress=False,
    )  # fmt: skip
    assert 0 < sum(m.sum() for m in mask.values()) < 15
    for name in params:
        moved = np.asarray(result.params[name] != params[name])
        assert (moved[~mask[name]] == (not mask_repair)).all()
        assert moved[mask[name]].all()


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
def test_an_example_weighs_less_once_its_loss_is_high(temperature):
    objective = sfron(temperature).objectives[0]
    assert objective.loss is not None
    problem = Problem(lambda p, x: p * p, None, None, extras=jnp.array(True))
    slope = jax.grad(lambda p: objective.loss(problem, p, None, None))
    np.testing.assert_allclose(slope(3.0), 6.0 * 9.0**-temperature, rtol=1e-6)
    # A loss of 0 has no weight of infinity.
    assert float(slope(0.0)) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1}, "temperature=-1"),
        ({"threshold": -1}, "threshold=-1"),
        ({"ascent_weight": -1}, "ascent_weight=-1"),
        ({"repair_steps": 0}, "repair_steps=0"),
    ],
)
def test_values_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        sfron(**settings)
