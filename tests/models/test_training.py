import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.data.digits import load_digits
from feasible_jax.models import Model, build_model, train
from feasible_jax.models.training import _train_step
from feasible_jax.unlearning.task import Examples


def blobs(count, seed=None):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    inputs = rng.normal(size=(count, 2, 2, 1)).astype(np.float32) + 3 * labels[:, None, None, None]
    return Examples(inputs.astype(np.float32), labels)


@pytest.fixture
def model():
    return build_model("mlp", (2, 2, 1), 3, hidden_sizes=(8,))


def same(a, b):
    return all(np.array_equal(*pair) for pair in zip(*map(jax.tree.leaves, (a, b)), strict=True))


def test_digits_are_learned_with_the_defaults():
    dataset = load_digits()
    model = build_model("mlp", (8, 8, 1), 10)
    params = train(model, dataset.train, epochs=30)
    predicted = model.apply(params, dataset.test.inputs).argmax(-1)
    assert np.mean(predicted == dataset.test.labels) > 0.965


@pytest.mark.parametrize("count", [1, 2, 5, 31, 32, 33])
def test_any_number_of_examples(model, count):
    losses = []
    params = train(
        model, blobs(count), epochs=3, batch_size=32, on_epoch=lambda *of: losses.append(of)
    )
    assert [epoch for epoch, _ in losses] == [1, 2, 3]
    assert losses[-1][1] < losses[0][1]
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def test_seed_decides(model):
    examples = blobs(50, seed=0)
    one, again, other = (train(model, examples, epochs=2, seed=seed) for seed in (3, 3, 4))
    assert same(one, again)
    assert not same(one, other)


def test_the_seed_decides_the_shuffle_too():
    constant = Model("constant", lambda key: {"w": jnp.zeros((4, 3))}, _linear)
    examples = blobs(50, seed=0)
    params = [train(constant, examples, epochs=1, batch_size=7, seed=seed) for seed in (0, 1)]
    assert not same(*params)


def _linear(params, inputs):
    return inputs.reshape(*inputs.shape[:-3], -1) @ params["w"]


@pytest.mark.parametrize("count", [6, 7, 11])
def test_every_example_is_seen_in_every_epoch(count, monkeypatch):
    model = Model("constant", lambda key: {"w": jnp.zeros((4, 3))}, _linear)
    batches = []

    def step(model, params, opt_state, data, batch, *rates):
        batches.append(batch)
        return _train_step(model, params, opt_state, data, batch, *rates)

    monkeypatch.setattr("feasible_jax.models.training._train_step", step)
    train(model, blobs(count), epochs=2, batch_size=4)
    of_epochs = np.split(np.stack(batches), 2)
    for of_epoch in of_epochs:
        assert set(of_epoch.reshape(-1)) == set(range(count))
        assert np.bincount(of_epoch.reshape(-1)).max() <= 2
    assert not np.array_equal(*of_epochs)


def test_one_compilation_however_many_epochs_rates_and_seeds(model):
    examples = blobs(40)
    train(model, examples, epochs=1, batch_size=16)
    compiled = _train_step._cache_size()
    train(model, examples, epochs=3, batch_size=16, learning_rate=0.1, weight_decay=0.2, seed=5)
    assert _train_step._cache_size() == compiled


def test_the_rate_decays_along_half_a_cosine(monkeypatch):
    rates = []

    def step(model, params, opt_state, data, batch, rate, weight_decay):
        rates.append(float(rate))
        return params, opt_state, 0.0

    monkeypatch.setattr("feasible_jax.models.training._train_step", step)
    model = Model("constant", lambda key: {"w": jnp.zeros((4, 3))}, _linear)
    train(model, blobs(8), epochs=2, batch_size=4, learning_rate=0.1)
    np.testing.assert_allclose(rates, [0.1, 0.0853553, 0.05, 0.0146447], rtol=1e-5)


def test_the_first_step_is_adamw():
    model = Model("constant", lambda key: {"w": jnp.ones((4, 3))}, _linear)
    examples = blobs(9)
    params = train(model, examples, epochs=1, learning_rate=0.1, weight_decay=0.0)
    np.testing.assert_allclose(np.abs(params["w"] - 1), 0.1, rtol=1e-2)
    decayed = train(model, examples, epochs=1, learning_rate=0.1, weight_decay=2.0)
    np.testing.assert_allclose(decayed["w"], params["w"] - 0.1 * 2.0, rtol=1e-4, atol=1e-5)


def test_weight_decay_pulls_to_zero(model):
    examples = blobs(60, seed=1)
    sizes = [
        sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(train(
            model, examples, epochs=20, weight_decay=decay)))
        for decay in (0.0, 10.0)
    ]  # fmt: skip
    assert sizes[1] < 0.5 * sizes[0]


def test_the_examples_are_left_alone(model):
    examples = blobs(20)
    before = examples.inputs.copy()
    train(model, examples, epochs=1)
    np.testing.assert_array_equal(examples.inputs, before)
    on_device = jax.tree.map(jnp.asarray, examples)
    train(model, on_device, epochs=1)
    np.testing.assert_array_equal(on_device.inputs, before)


def test_a_loss_that_is_not_finite(model):
    examples = blobs(20)
    examples.inputs[7, 0, 0, 0] = np.nan
    seen = []
    with pytest.raises(FloatingPointError, match="mlp in epoch 1 of 5"):
        train(model, examples, epochs=5, on_epoch=lambda *of: seen.append(of))
    assert seen == []


def test_parameters_that_are_not_finite():
    model = Model("constant", lambda key: {"w": jnp.ones((4, 3))}, _linear)
    with pytest.raises(FloatingPointError, match="constant in epoch 1 of 1"):
        train(model, blobs(9), epochs=1, learning_rate=float("inf"))


def shaped(shape, labels):
    return Examples(np.zeros(shape, np.float32), np.array(labels, int))


@pytest.mark.parametrize(
    ("examples", "options", "message"),
    [
        (shaped((0, 2, 2, 1), []), {}, "at least one example"),
        (shaped((3, 2, 2, 1), [0, 1]), {}, r"shape \(3, 2, 2, 1\) and labels \(2,\)"),
        (shaped((2, 2, 2, 1), [0, 3]), {}, r"outside \[0, 3\).*num_classes=4"),
        (shaped((2, 2, 2, 1), [-1, 0]), {}, "labels run from -1"),
        (shaped((2, 3, 2, 1), [1, 0]), {}, "takes images of shape"),
        (blobs(4), {"epochs": 0}, "epochs is 0"),
        (blobs(4), {"batch_size": 0}, "batch_size 0"),
    ],
)
def test_impossible_requests(model, examples, options, message):
    with pytest.raises(ValueError, match=message):
        train(model, examples, **{"epochs": 1, **options})
