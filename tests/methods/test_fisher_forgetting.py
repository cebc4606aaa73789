import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import chi2, kstest

import feasible_jax as fj
from feasible_jax.methods import Problem, fisher_forgetting

SGD = optax.sgd(1.0)
SIZE = 4000
# The gradient of every example is itself, so F is the mean of squares of the retain set: 0, 1, 16.
PARAMS = {"unused": jnp.ones(SIZE), "one": jnp.ones(SIZE), "sixteen": jnp.ones(SIZE)}
DATA = {"forget": jnp.array([100.0]), "retain": jnp.array([1.0, 7**0.5, 0.0, 2.0, 8**0.5])}


def loss(params, x):
    # sum x^2 = 1 + 7 + 0 + 4 + 8 = 20, and 20 / 5 = 4.
    scales = {"unused": 0.0, "one": 0.5, "sixteen": 2.0}
    return sum(scales[name] * x * params[name].sum() for name in params)


def noise(method, key=0):
    result = fj.unlearn(
        loss, PARAMS, **DATA, method=method, optimizer=SGD, steps=1, batch_size=2,
        progress=False, key=key,
    )  # fmt: skip
    return {name: np.asarray(result.params[name] - PARAMS[name]) for name in PARAMS}


def test_noise_is_normal_with_the_scale_of_the_retain_set():
    found = noise(fisher_forgetting(scale=0.02, max_std=0.5))
    for name, std in (("unused", 0.5), ("one", 0.02), ("sixteen", 0.01)):
        assert kstest(found[name] / std, "norm").pvalue > 1e-3, name
    correlations = np.corrcoef([found[name] for name in found]) - np.eye(3)
    assert np.abs(correlations).max() < 4.5 / SIZE**0.5


def test_no_noise_is_above_the_largest():
    found = noise(fisher_forgetting(scale=0.02, max_std=0.015))
    for name, std in (("unused", 0.015), ("one", 0.015), ("sixteen", 0.01)):
        assert abs(found[name].std() / std - 1) < 4.5 / (2 * SIZE) ** 0.5, name


SCALE, LARGEST = 0.4, 2.0


@pytest.fixture
def golden(params, sets, by_hand):
    """Softmax regression with an input that no retained example uses, and the noise that it gets.

    ``stds`` is ``min(scale F^(-1/4), max_std)`` by float64 NumPy, ``F`` the mean over the retain
    set of the squares of the gradients of single examples.
    """
    retain = sets["retain"]
    retain = retain._replace(inputs=retain.inputs * np.array([9, 1, 0.3, 0], np.float32))
    grads = [by_hand(params, example) for example in zip(*retain, strict=True)]
    fisher = {name: np.mean([grad[name] ** 2 for grad in grads], axis=0) for name in params}
    with np.errstate(divide="ignore"):
        stds = {name: np.minimum(SCALE * f**-0.25, LARGEST) for name, f in fisher.items()}
    assert (stds["w"][3] == LARGEST).all()
    below = [*stds["w"][:3].ravel(), *stds["b"]]
    assert max(below) < LARGEST
    assert max(below) > 4 * min(below), "a scale that hardly differs shows little"
    return {**sets, "retain": retain}, stds


def test_golden_noise_is_the_same_draw_at_the_scale_of_each_coordinate(loss, params, golden):
    data, stds = golden

    def moved(scale, max_std):
        result = fj.unlearn(
            loss, params, **data, method=fisher_forgetting(scale, max_std), optimizer=SGD,
            steps=1, batch_size=2, progress=False, key=3,
        )  # fmt: skip
        return {name: np.asarray(result.params[name] - params[name]) for name in params}

    # With the same key, and every standard deviation at its largest, which is 1: the draw itself.
    draw = moved(1e6, 1.0)
    assert len({float(n) for leaf in draw.values() for n in leaf.ravel()}) == 15
    found = moved(SCALE, LARGEST)
    for name in params:
        np.testing.assert_allclose(found[name], stds[name] * draw[name], rtol=1e-4, atol=2e-6)


def test_golden_variance_over_many_keys(loss, params, golden):
    data, stds = golden
    method, problem, keys = fisher_forgetting(SCALE, LARGEST), Problem(loss, None, params), 4000

    def edited(key):
        return method.prepare(problem, data, key).extras

    edits = jax.jit(jax.vmap(edited))(jax.random.split(jax.random.key(0), keys))
    low, high = chi2.interval(1 - 1e-6, keys)
    for name in params:
        units = (np.asarray(edits[name], np.float64) - np.asarray(params[name])) / stds[name]
        squares = (units**2).sum(0)
        assert ((low < squares) & (squares < high)).all(), (name, squares / keys)


def test_every_run_draws_its_own():
    method = fisher_forgetting()
    one, same, other = (noise(method, key)["one"] for key in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).mean() > 0.99


@pytest.mark.parametrize("name", ["scale", "max_std"])
def test_negative_values_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=-1"):
        fisher_forgetting(**{name: -1})
