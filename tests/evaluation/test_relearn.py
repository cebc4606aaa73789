from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from feasible_jax.evaluation import accuracy, predict, relearn_time
from feasible_jax.evaluation.relearn import RelearnTime
from feasible_jax.unlearning.batches import draw_batch
from feasible_jax.unlearning.task import Examples, Task

SGD = optax.sgd(0.2)


@pytest.fixture(autouse=True, scope="module")
def compile_quickly(quick_compilation):
    """Programs here are compiled far longer than they run."""


def forget_accuracy(task, params):
    return accuracy(predict(task.predict_fn, params, task.forget))


def one_step_at_a_time(task, params, wanted, max_steps, batch_size, optimizer, seed=0):
    """The same by hand, outside any compiled loop."""
    key, state, step = jax.random.key(seed), optimizer.init(params), 0
    forget = jax.tree.map(jnp.asarray, task.forget)

    @jax.jit
    def gradient(params, batch):
        return jax.grad(lambda p: jax.vmap(task.loss_fn, (None, 0))(p, batch).mean())(params)

    while forget_accuracy(task, params) < wanted and step < max_steps:
        key, draw = jax.random.split(key)
        batch = draw_batch(draw, forget, batch_size)
        updates, state = optimizer.update(gradient(params, batch), state, params)
        params, step = optax.apply_updates(params, updates), step + 1
    return step, forget_accuracy(task, params)


def test_agrees_with_steps_taken_by_hand(memorised):
    start = jnp.asarray(memorised.retrained)
    for wanted, margin, cap in ((100.0, 0.0, 400), (80.0, 20.0, 400), (100.0, 0.0, 2)):
        steps, last = one_step_at_a_time(memorised, start, wanted, cap, 20, SGD)
        found = relearn_time(
            memorised, start, margin=margin, max_steps=cap, batch_size=20, optimizer=SGD
        )
        assert found == RelearnTime(steps, steps < cap, pytest.approx(last))
        assert steps > 1


def test_the_original_needs_none_and_what_was_kept_needs_fewer(memorised):
    assert relearn_time(memorised, memorised.params) == RelearnTime(0, True, 100.0)
    retrained = relearn_time(memorised, memorised.retrained, optimizer=SGD)
    near = 0.2 * memorised.params + 0.8 * memorised.retrained
    assert forget_accuracy(memorised, near) < 100
    assert relearn_time(memorised, near, optimizer=SGD).steps < retrained.steps


def test_the_default_optimizer_wins_back_what_was_never_seen(memorised):
    found = relearn_time(memorised, memorised.retrained)
    assert found.recovered
    assert 1 < found.steps < 1000


def test_no_steps_allowed(memorised):
    found = relearn_time(memorised, memorised.retrained, max_steps=0)
    expected = forget_accuracy(memorised, memorised.retrained)
    assert found == RelearnTime(0, False, pytest.approx(expected))


def test_a_diverged_model_recovers_nothing(memorised):
    found = relearn_time(memorised, np.full_like(memorised.params, np.nan), max_steps=3)
    assert found == RelearnTime(3, False, 0.0)


def test_the_model_is_left_alone_and_the_seed_decides(memorised):
    before = np.array(memorised.retrained)
    options = {"optimizer": SGD, "batch_size": 4, "max_steps": 30}
    runs = [relearn_time(memorised, memorised.retrained, **options, seed=s) for s in (0, 0, 1)]
    np.testing.assert_array_equal(memorised.retrained, before)
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_one_compilation_whatever_the_model_and_the_cap(memorised):
    traces = []

    def counted(params, example):
        traces.append(1)
        return memorised.loss_fn(params, example)

    task = replace(memorised, loss_fn=counted)
    relearn_time(task, task.retrained, max_steps=2)
    first = len(traces)
    for params, cap, margin in ((task.params, 2, 0.0), (0 * task.params, 5, 10.0)):
        relearn_time(task, params, max_steps=cap, margin=margin)
    assert len(traces) == first > 0


def test_a_large_forget_set_is_looked_at_in_parts(memorised, monkeypatch):
    # A last part that is not full must not count the examples that fill it up.
    monkeypatch.setattr("feasible_jax.evaluation.relearn._LOOK", 7)
    task = replace(memorised, predict_fn=lambda params, inputs: inputs @ params)
    found = relearn_time(task, task.retrained, max_steps=0)
    assert found.accuracy == pytest.approx(forget_accuracy(task, task.retrained))


def test_convolutions_on_a_cpu_are_dispatched_one_by_one(monkeypatch):
    def predict_fn(kernel, inputs):
        out = jax.lax.conv(inputs[:, None], kernel, (1,), "VALID")
        return out.mean(axis=2)

    def loss_fn(kernel, example):
        return -jax.nn.log_softmax(predict_fn(kernel, example.inputs[None])[0])[example.labels]

    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(12, 5)).astype(np.float32)
    kernel = rng.normal(size=(2, 1, 3)).astype(np.float32)
    some = Examples(inputs, np.asarray(predict_fn(kernel, inputs).argmax(1)))
    task = Task("conv", loss_fn, predict_fn, kernel, some, some, some, some, num_classes=2)
    monkeypatch.setattr("feasible_jax.evaluation.relearn._run", pytest.fail)
    found = relearn_time(task, -0.1 * kernel, optimizer=SGD, max_steps=500, margin=10.0)
    assert found.recovered
    assert found.steps > 1


@pytest.mark.parametrize(
    "wrong", [{"margin": -1}, {"margin": 101}, {"max_steps": -1}, {"batch_size": 0}]
)
def test_sizes_out_of_range_are_refused(memorised, wrong):
    with pytest.raises(ValueError, match="give a margin"):
        relearn_time(memorised, memorised.params, **wrong)
