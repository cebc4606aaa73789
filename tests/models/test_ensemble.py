import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.models import Model, build_model, train, train_ensemble
from feasible_jax.models.ensemble import _ensemble_step
from feasible_jax.unlearning.task import Examples

SEEDS = (3, 0, 11)


def blobs(count, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    inputs = rng.normal(size=(count, 2, 2, 1)) + 3 * labels[:, None, None, None]
    return Examples(inputs.astype(np.float32), labels)


@pytest.fixture(scope="module")
def model():
    return build_model("mlp", (2, 2, 1), 3, hidden_sizes=(8,))


def assert_close(one, other):
    for pair in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(*pair, rtol=1e-4, atol=1e-5)


def member(params, i):
    return jax.tree.map(lambda leaf: leaf[i], params)


@pytest.mark.parametrize("count", [31, 5])
def test_each_member_is_the_model_trained_alone(model, count):
    options = {"epochs": 4, "batch_size": 16, "learning_rate": 0.02, "weight_decay": 0.1}
    ensemble = train_ensemble(model, blobs(count), seeds=SEEDS, **options)
    for i, seed in enumerate(SEEDS):
        assert_close(member(ensemble, i), train(model, blobs(count), seed=seed, **options))
    first = jax.tree.leaves(ensemble)[1]
    assert np.abs(first[0] - first[1]).max() > 0.05


def test_each_member_is_trained_on_its_own_examples_alone(model):
    examples = blobs(40)
    rng = np.random.default_rng(0)
    membership = np.stack([rng.permutation(40) < 21 for _ in SEEDS])
    # What nobody is a member of would spoil the model that saw it.
    nobody = ~membership.any(axis=0)
    examples.inputs[nobody] = np.nan
    options = {"epochs": 3, "batch_size": 8}
    ensemble = train_ensemble(model, examples, seeds=SEEDS, membership=membership, **options)
    assert nobody.any()
    for i, seed in enumerate(SEEDS):
        own = Examples(*(part[membership[i]] for part in examples))
        assert_close(member(ensemble, i), train(model, own, seed=seed, **options))


def test_members_of_different_numbers_of_examples_take_as_many_steps(monkeypatch):
    batches = []

    def step(model, params, opt_state, data, batch, *rates):
        batches.append(np.asarray(batch))
        return _ensemble_step(model, params, opt_state, data, batch, *rates)

    monkeypatch.setattr("feasible_jax.models.ensemble._ensemble_step", step)
    linear = Model("linear", lambda key: {"w": jnp.zeros((4, 3))}, _linear)
    membership = np.array([np.arange(12) < 10, np.arange(12) >= 9])
    options = {"membership": membership, "epochs": 2, "batch_size": 4}
    train_ensemble(linear, blobs(12), seeds=(0, 1), **options)
    rows = np.stack(batches)
    assert rows.shape == (2 * 3, 2, 4)
    for of_epoch in np.split(rows, 2):
        assert set(of_epoch[:, 0].ravel()) == set(range(10))
        assert np.bincount(of_epoch[:, 1].ravel()).tolist() == [0] * 9 + [4] * 3


def _linear(params, inputs):
    return inputs.reshape(*inputs.shape[:-3], -1) @ params["w"]


def test_one_compilation_however_many_epochs_and_whichever_seeds(model):
    train_ensemble(model, blobs(20), seeds=(0, 1, 2), epochs=1, batch_size=8)
    compiled = _ensemble_step._cache_size()
    options = {"epochs": 3, "batch_size": 8, "learning_rate": 0.1, "weight_decay": 0.2}
    train_ensemble(model, blobs(20), seeds=(5, 9, 0), **options)
    assert _ensemble_step._cache_size() == compiled


def test_the_mean_loss_is_told_after_every_epoch(model):
    told, alone = [], []
    options = {"epochs": 3, "batch_size": 8}
    train_ensemble(model, blobs(20), seeds=SEEDS, on_epoch=lambda *of: told.append(of), **options)
    for seed in SEEDS:
        train(model, blobs(20), seed=seed, on_epoch=lambda *of: alone.append(of), **options)
    assert [epoch for epoch, _ in told] == [1, 2, 3]
    losses = np.array([loss for _, loss in alone]).reshape(3, 3)
    np.testing.assert_allclose([loss for _, loss in told], losses.mean(axis=0), rtol=1e-4)


def test_a_member_that_is_not_finite_is_named(model):
    examples = blobs(20)
    examples.inputs[7] = np.nan
    membership = np.ones((3, 20), bool)
    membership[[0, 2], 7] = False
    options = {"membership": membership, "epochs": 5, "batch_size": 8}
    with pytest.raises(FloatingPointError, match=r"mlp in epoch 1 .* for seeds \[0\]"):
        train_ensemble(model, examples, seeds=SEEDS, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": ()}, "seeds is empty"),
        ({"membership": np.ones((2, 9), bool)}, r"\(2, 9\) and dtype bool: .* shape \(3, 9\)"),
        ({"membership": np.ones((3, 9))}, "dtype float64: give booleans"),
        ({"membership": np.eye(3, 9, 7) > 0}, r"membership\[2\] has no example"),
        ({"epochs": 0}, "epochs is 0"),
    ],
)
def test_impossible_requests(model, options, message):
    with pytest.raises(ValueError, match=message):
        train_ensemble(model, blobs(9), **{"seeds": SEEDS, "epochs": 1} | options)
