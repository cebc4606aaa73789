import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.methods import Prepared, Problem, unsir


def noise_of(method, predict, params, forget, key=0):
    problem = Problem(lambda p, e: p, predict, params)
    return method.prepare(problem, {"forget": forget}, jax.random.key(key)).extras


def test_the_noise_is_what_adam_finds_most_harmful(predict, params, sets, probabilities):
    """Adam in float64 NumPy from the same start, on ``penalty ||x||^2 - CE(x, y)``."""
    forget = jax.tree.map(jnp.asarray, sets["forget"])
    options = {"noise_size": 5, "noise_rate": 0.1, "penalty": 0.2}
    first, labels = noise_of(unsir(noise_steps=1, **options), predict, params, forget)
    noise, same = noise_of(unsir(noise_steps=6, **options), predict, params, forget)
    assert (labels == same).all()
    assert set(labels.tolist()) <= set(sets["forget"].labels.tolist())
    start_key, _ = jax.random.split(jax.random.key(0))
    x = np.asarray(jax.random.normal(start_key, (5, 4)), np.float64)
    w = np.asarray(params["w"], np.float64)
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t in range(1, 7):
        residual = np.stack([probabilities(params, row) for row in x]) - np.eye(3)[labels]
        gradient = (2 * 0.2 * x - residual @ w.T) / 5
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        x = x - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        if t == 1:
            np.testing.assert_allclose(first, x, atol=1e-5)
    np.testing.assert_allclose(noise, x, atol=1e-4)


def test_one_step_impairs_on_noise_and_retain(one_step, params, moved, by_hand, lone_examples):
    noise = np.array([[0.5, 1.0, -1.0, 2.0]], np.float32)
    extras = (jnp.asarray(noise), jnp.array([2]))
    method = unsir(noise_size=1)._replace(prepare=lambda *args: Prepared(extras=extras))
    gradient, result = one_step(method, params, begin=moved)
    impair = by_hand(moved, (noise[0], 2))
    retain = by_hand(moved, [part[0] for part in lone_examples["retain"]])
    for name in params:
        np.testing.assert_allclose(gradient[name], impair[name] + retain[name], atol=3e-6)
    assert set(result.history.losses) == {"noise", "retain"}


def test_repair_follows_on_the_retain_set_alone(loss, predict, params, sets):
    result = fj.unlearn(
        loss, params, **sets, method=unsir(0.25, noise_size=4, noise_steps=2), steps=8,
        optimizer=optax.sgd(0.1), batch_size=4, predict_fn=predict, progress=False,
    )  # fmt: skip
    assert np.isfinite(result.history.losses["noise"]).tolist() == [True] * 2 + [False] * 6
    assert np.isfinite(result.history.losses["retain"]).all()


def test_a_batch_holds_many_images_of_noise():
    """Each example of a batch draws an image of its own."""
    method = unsir(noise_size=50)
    objective = method.objectives[0]
    assert objective.loss is not None
    extras = (jnp.arange(50.0)[:, None], jnp.zeros(50, int))

    def predict(params, inputs):
        return jnp.concatenate([-inputs, jnp.zeros((1, 1))], axis=-1)

    problem = Problem(lambda p, e: p, predict, None, extras)
    keys = jax.random.split(jax.random.key(0), 64)
    losses = jax.vmap(lambda key: objective.loss(problem, None, None, key))(keys)
    assert len(set(losses.tolist())) > 25  # of 50, 64 draws hit 36 on average


def test_inputs_without_a_gradient_are_refused(one_step, params, lone_examples):
    tokens = lone_examples["forget"]._replace(inputs=np.array([[1, 2, 0, 0]]))
    with pytest.raises(ValueError, match="int32"):
        one_step(unsir(), params, forget=tokens)


@pytest.mark.parametrize(
    "wrong",
    [
        {"impair": 1.5},
        {"noise_size": 0},
        {"noise_steps": 2.0},
        {"noise_rate": 0.0},
        {"penalty": -1.0},
    ],
)
def test_numbers_outside_their_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        unsir(**wrong)
