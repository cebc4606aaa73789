import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.methods import gdr_gma


def combine(retain, climb, retain_loss, **settings):
    gradients = {
        name: {k: jnp.asarray(v, jnp.float32) for k, v in tree.items()}
        for name, tree in (("retain", retain), ("forget", climb))
    }
    return gdr_gma(**settings).combine(gradients, {"retain": jnp.float32(retain_loss)}, 0.0)


def test_one_step_rectifies_and_weighs_each_tensor(one_step, params, by_hand, lone_examples):
    step, result = one_step(gdr_gma(sharpness=2.0), params)
    g = {
        name: by_hand(params, [part[0] for part in examples])
        for name, examples in lone_examples.items()
    }
    weight = 1 / (1 + np.exp(2.0 * (result.history.losses["retain"][0] - 0.02)))
    conflicts = 0
    for name in params:
        retain, forget = g["retain"][name], -g["forget"][name]
        dot = min((retain * forget).sum(), 0)
        conflicts += dot < 0
        expected = (1 - weight) * (retain - dot / (forget**2).sum() * forget)
        expected += weight * (forget - dot / (retain**2).sum() * retain)
        np.testing.assert_allclose(step[name], expected, atol=3e-6)
    assert conflicts > 0


RETAIN = {"a": [1.0, 2.0], "b": [1.0, 0.0]}
CLIMB = {"a": [3.0, 1.0], "b": [-1.0, 5.0]}  # the gradients conflict at "a" alone


@pytest.mark.parametrize(("loss", "side"), [(-1e3, "forget"), (1e3, "retain")])
def test_each_is_projected_on_what_the_other_was(loss, side):
    """Both lose the other's own direction: not that of the other's projection."""
    step = combine(RETAIN, CLIMB, loss)
    other = {"forget": RETAIN, "retain": CLIMB}[side]
    np.testing.assert_allclose(np.dot(step["a"], other["a"]), 0, atol=1e-5)
    untouched = {"forget": [1.0, -5.0], "retain": [1.0, 0.0]}[side]
    np.testing.assert_allclose(step["b"], untouched, rtol=1e-6)


def test_forgetting_gives_way_as_the_retain_loss_rises():
    shares = [float(combine({"a": [0.0, 1.0]}, {"a": [-1.0, 0.0]}, x)["a"][0])
              for x in (0.0, 0.02, 0.04, 0.2)]  # fmt: skip
    expected = 1 / (1 + np.exp(100 * (np.array([0.0, 0.02, 0.04, 0.2]) - 0.02)))
    np.testing.assert_allclose(shares, expected, rtol=1e-4)


def test_opposite_and_vanishing_gradients_are_no_division_by_zero():
    opposite = combine({"a": [1.0, 2.0]}, {"a": [1.0, 2.0]}, 0.02)
    np.testing.assert_allclose(opposite["a"], [0, 0], atol=1e-6)
    alone = combine({"a": [0.0, 0.0]}, {"a": [1.0, 2.0]}, 0.02)
    np.testing.assert_allclose(alone["a"], [-0.5, -1.0], rtol=1e-6)


def test_a_negative_sharpness_is_refused():
    with pytest.raises(ValueError, match="sharpness=-1"):
        gdr_gma(-1)
