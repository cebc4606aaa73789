import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import kstest

import feasible_jax as fj
from feasible_jax.methods import fisher_forgetting

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


def test_every_run_draws_its_own():
    method = fisher_forgetting()
    one, same, other = (noise(method, key)["one"] for key in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).mean() > 0.99


@pytest.mark.parametrize("name", ["scale", "max_std"])
def test_negative_values_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=-1"):
        fisher_forgetting(**{name: -1})
