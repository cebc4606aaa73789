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


@pytest.mark.parametrize("density", [0.01, 0.4, 0.5, 1.0])
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
