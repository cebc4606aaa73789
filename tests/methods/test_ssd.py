import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.methods import ssd

SGD = optax.sgd(1.0)


def squares(params, examples, by_hand):
    gradients = [by_hand(params, example) for example in zip(*examples, strict=True)]
    return {name: np.mean([g[name] ** 2 for g in gradients], 0) for name in params}


def run(method, loss, params, sets):
    return fj.unlearn(
        loss, params, **sets, method=method, optimizer=SGD, steps=1, batch_size=2,
        progress=False,
    ).params  # fmt: skip


@pytest.mark.parametrize(("settings", "a", "lam"), [((1.1, 0.5), 1.1, 0.5), ((), 26 / 12, 1.0)])
def test_the_edit_by_hand(settings, a, lam, loss, params, uneven_sets, by_hand):
    """F_D is of all training examples: the 6 to forget and the 20 to retain."""
    sets = uneven_sets
    forget, retain = (squares(params, sets[side], by_hand) for side in ("forget", "retain"))
    edited = run(ssd(*settings), loss, params, sets)
    dampened = 0
    for name in params:
        whole = (6 * forget[name] + 20 * retain[name]) / 26
        selected = forget[name] > a * whole
        factor = np.where(selected, np.minimum(1, lam * whole / forget[name]), 1)
        np.testing.assert_allclose(edited[name], factor * params[name], rtol=2e-6, atol=1e-7)
        assert (np.asarray(edited[name] == params[name]) == ~selected).all()
        dampened += selected.sum()
    assert 0 < dampened < 15


def test_dampening_never_magnifies(loss, params, sets):
    edited = run(ssd(0.01, 1e6), loss, params, sets)
    for name in params:
        np.testing.assert_allclose(edited[name], params[name], rtol=1e-6)


def test_a_threshold_that_nothing_can_pass_is_refused(loss, params, sets):
    with pytest.raises(ValueError, match=r"selection=10.*6 to forget.*above 4\.33"):
        run(ssd(10), loss, params, sets)


@pytest.mark.parametrize(
    ("settings", "message"), [((0.0,), "selection=0.0"), ((1.0, -1.0), "dampening=-1")]
)
def test_values_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ssd(*settings)
