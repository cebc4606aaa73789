import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.methods import munba


def bargain(retain, climb):
    combined = munba().combine(
        {"retain": jnp.asarray(retain, jnp.float32), "forget": jnp.asarray(climb, jnp.float32)},
        {}, jnp.float32(0),
    )  # fmt: skip
    return np.asarray(combined)


def test_one_step_is_the_bargain_of_both_sets(one_step, params, by_hand, lone_examples):
    step, result = one_step(munba(), params)
    g = {
        name: by_hand(params, [part[0] for part in examples])
        for name, examples in lone_examples.items()
    }
    retain = np.concatenate([g["retain"][name].ravel() for name in params])
    forget = -np.concatenate([g["forget"][name].ravel() for name in params])
    lengths = np.linalg.norm(retain), np.linalg.norm(forget)
    cos = retain @ forget / np.prod(lengths)
    expected = (retain / lengths[0] + forget / lengths[1]) / np.sqrt(1 + cos)
    found = np.concatenate([step[name].ravel() for name in params])
    np.testing.assert_allclose(found, expected, atol=3e-6)
    assert set(result.history.losses) == {"forget", "retain"}


@pytest.mark.parametrize("scales", [(1, 1), (1e-30, 1), (1e15, 1e-10)])
def test_both_gain_alike_whatever_their_scale(scales):
    """Nash's condition: the product of alpha_i and player i's gain is 1."""
    rng = np.random.default_rng(0)
    retain, forget = rng.normal(size=(2, 9)) * np.array(scales)[:, None]
    step = bargain(retain, -forget).astype(np.float64)
    gains = [step @ g / np.linalg.norm(g) for g in (retain, forget)]
    np.testing.assert_allclose(gains[0], gains[1], rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(step), np.sqrt(2), rtol=1e-5)


def test_nearly_opposite_gradients_still_make_a_step_of_the_same_length():
    step = bargain([1.0, 0.0], [1.0, -1e-3])
    np.testing.assert_allclose(step, [5e-4 * np.sqrt(2), np.sqrt(2)], atol=1e-4)


@pytest.mark.filterwarnings("ignore:1 of 1 forget examples")
def test_opposite_gradients_make_no_step(one_step, params, lone_examples):
    step, result = one_step(munba(), params, forget=lone_examples["retain"])
    assert all((step[name] == 0).all() for name in params)
    assert result.history.abstained.tolist() == [True]


def test_a_gradient_of_zero_makes_no_proposal():
    np.testing.assert_allclose(bargain([0, 0], [3, 4]), [-0.6, -0.8], rtol=1e-6)
    np.testing.assert_allclose(bargain([3, 4], [0, 0]), [0.6, 0.8], rtol=1e-6)
    assert bargain([0, 0], [0, 0]).tolist() == [0, 0]
