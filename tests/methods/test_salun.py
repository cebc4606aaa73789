import jax
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.methods import Problem, salun


def mask_of(loss_fn, params, forget, density):
    method = salun(3, density)
    assert method.prepare is not None
    problem = Problem(loss_fn, None, params)
    return jax.jit(lambda forget: method.prepare(problem, {"forget": forget}, None).mask)(forget)


@pytest.mark.parametrize("density", [0.01, 0.4])
def test_the_mask_ranks_the_summed_gradient_over_all_leaves(density, loss, params, sets, by_hand):
    examples = zip(*sets["forget"], strict=True)
    grads = [by_hand(params, example) for example in examples]
    summed = {name: np.abs(sum(grad[name] for grad in grads)) for name in params}
    everything = np.concatenate([summed["b"].ravel(), summed["w"].ravel()])
    count = max(1, round(density * 15))
    threshold = np.sort(everything)[-count]
    mask = mask_of(loss, params, sets["forget"], density)
    assert sum(int(leaf.sum()) for leaf in mask.values()) == count
    for name in params:
        np.testing.assert_array_equal(mask[name], summed[name] >= threshold)


def test_gradients_that_cancel_are_not_salient():
    """Absolute values are taken of the sum: a sum of absolute values would rank noise first."""
    forget = np.array([[9.0, 1.0], [-9.0, 1.0]], np.float32)
    mask = mask_of(lambda w, x: w @ x, np.zeros(2, np.float32), forget, 0.5)
    assert mask.tolist() == [False, True]


# Softmax regression on 3 inputs and 2 classes, worked out by hand: both columns of w are alike, so
# the bias alone decides, and every example has the probabilities 3/4 and 1/4.
GOLDEN = {
    "w": np.array([[1, 1], [2, 2], [-1, -1]], np.float32),
    "b": np.array([np.log(3), 0], np.float32),
}


def summed_by_hand(forget):
    inputs, labels = (np.asarray(part, np.float64) for part in forget)
    residuals = np.array([0.75, 0.25]) - np.stack([labels == 0, labels == 1], axis=1)
    # Of -CE, as the paper ranks it: the sign plays no part.
    return {"w": -inputs.T @ residuals, "b": -residuals.sum(0)}


def test_golden_mask_of_half_the_coordinates_freezes_a_whole_leaf(loss):
    inputs = np.array([[4, 8, 0], [4, 8, 4], [4, 8, -4], [0, 8, 2]], np.float32)
    forget = fj.Examples(inputs, np.array([0, 0, 0, 1]))
    summed = summed_by_hand(forget)
    # Row 1 has the largest gradients and they cancel; a rank within each leaf would keep half of b.
    np.testing.assert_array_equal(summed["w"], [[3, -3], [0, 0], [-1.5, 1.5]])
    np.testing.assert_array_equal(summed["b"], [0, 0])
    kept = {"w": np.array([[1, 1], [0, 0], [1, 1]], bool), "b": np.array([0, 0], bool)}
    mask = jax.tree.map(np.asarray, mask_of(loss, GOLDEN, forget, 0.5))
    jax.tree.map(np.testing.assert_array_equal, mask, kept)
    retain = fj.Examples(np.array([[0.1, 5, 0.2]], np.float32), np.array([1]))
    result = fj.unlearn(
        loss, GOLDEN, forget=forget, retain=retain, method=salun(2), steps=3, batch_size=4,
        optimizer=optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9)),
        progress=False,
    )  # fmt: skip
    moved = {name: np.asarray(result.params[name] != GOLDEN[name]) for name in GOLDEN}
    jax.tree.map(np.testing.assert_array_equal, moved, kept)


def test_golden_step(one_step):
    lone = {
        "forget": fj.Examples(np.array([[3, -0.25, 2]], np.float32), np.array([0])),
        "retain": fj.Examples(np.array([[1, 2, -4]], np.float32), np.array([1])),
    }
    summed = summed_by_hand(lone["forget"])
    np.testing.assert_array_equal(summed["w"][:, 0], [0.75, -0.0625, 0.5])
    assert summed["b"][0] == 0.25
    # Of two classes the wrong label is the other one: both examples are taught class 1, and the
    # residual of either is (3/4, -3/4). Descent takes off the sum of both gradients, where kept.
    taken_off = 0.75 * np.array([[3 + 1, -4], [0, 0], [2 - 4, 2]])
    ours, _ = one_step(salun(2), GOLDEN, **lone)
    np.testing.assert_allclose(ours["w"], taken_off, rtol=1e-6)
    assert not ours["w"][1].any()
    assert not ours["b"].any()


def test_nothing_slips_past_the_mask(loss, params, sets):
    result = fj.unlearn(
        loss, params, **sets, method=salun(3), steps=3, batch_size=4, progress=False,
        optimizer=optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9)),
    )  # fmt: skip
    mask = mask_of(loss, params, sets["forget"], 0.5)
    for name in params:
        np.testing.assert_array_equal(result.params[name] != params[name], mask[name])


def test_one_step_is_that_of_random_labels_under_the_mask(one_step, params, lone_examples, loss):
    ours, result = one_step(salun(3, 0.3), params)
    theirs, _ = one_step(fj.methods.random_labels(3), params)
    mask = mask_of(loss, params, lone_examples["forget"], 0.3)
    for name in params:
        np.testing.assert_allclose(ours[name], np.where(mask[name], theirs[name], 0), atol=1e-7)
    assert set(result.history.losses) == {"forget, wrong labels", "retain"}


@pytest.mark.parametrize("density", [0.0, 1.1, float("nan")])
def test_a_density_that_is_no_share_is_refused(density):
    with pytest.raises(ValueError, match="density"):
        salun(10, density)
