import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.methods import Problem, neg_grad_plus
from feasible_jax.unlearning import chunks
from feasible_jax.unlearning.step import (
    Fixed,
    first_state,
    make_limits,
    make_step,
    merged_requirements,
)


def setup(loss, params, sets):
    tx = optax.chain(
        optax.sgd(0.05, momentum=0.9), fj.feasible_updates(decrease=("retain",), confidence=0.7)
    )
    params = jax.tree.map(jnp.asarray, params)
    state = first_state(params, tx.init(params), jax.random.key(0))
    needs = merged_requirements(state.opt_state)
    step = make_step(Problem(loss, None, None), neg_grad_plus(0.5), tx, needs, 6, "auto")
    return step, (state, jax.tree.map(jnp.asarray, sets), Fixed(params))


def is_scan(chunk):
    return hasattr(chunk, "lower")


def convolution(params, example):
    inputs, target = example
    padded = jnp.pad(inputs, 1)[None, None]
    out = jax.lax.conv(padded, params["w"][None, None], (1,), "SAME")
    return 0.5 * (jnp.sum(jnp.tanh(out)) + params["b"] - target) ** 2


@pytest.mark.parametrize("convolve", [False, True])
def test_a_scan_and_single_dispatches_agree(convolve, loss, params, sets):
    step, args = setup(convolution if convolve else loss, params, sets)
    step = jax.jit(step)
    scan = jax.jit(lambda *a: chunks._scan(step, 5, *a))
    for steps in (5, 3):
        scanned, many = scan(*args, make_limits(steps))
        single, few = chunks._dispatch(step, 5, *args, make_limits(steps))
        for one, other in zip(
            jax.tree.leaves((scanned.params, scanned.opt_state)),
            jax.tree.leaves((single.params, single.opt_state)),
            strict=True,
        ):
            np.testing.assert_allclose(one, other, atol=1e-6)
        assert int(scanned.step) == int(single.step) == steps
        assert (jax.random.key_data(scanned.key) == jax.random.key_data(single.key)).all()
        assert many.alive.tolist() == [True] * steps + [False] * (5 - steps)
        assert few.alive.tolist() == [True] * steps
        for name in many.losses:
            np.testing.assert_allclose(many.losses[name][:steps], few.losses[name], atol=1e-6)
        np.testing.assert_allclose(many.kept[:steps], few.kept, atol=1e-6)


def test_convolutions_on_a_cpu_are_dispatched_one_by_one(loss, params, sets, monkeypatch):
    for convolve in (False, True):
        step, args = setup(convolution if convolve else loss, params, sets)
        assert is_scan(chunks.make_chunk(step, 4, (*args, make_limits(4)))) is not convolve
    chunk = chunks.make_chunk(step, 4, (*args, make_limits(4)))
    assert chunks.is_slow_in_loops(jax.jit(step), (*args, make_limits(4)))
    state, records = chunk(*args, make_limits(4))
    assert int(state.step) == 4
    assert records.kept.shape == (4,)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert is_scan(chunks.make_chunk(step, 4, (*args, make_limits(4))))


def test_no_step_is_taken_beyond_the_run(loss, params, sets):
    """Not even for nothing: a loss is not evaluated more often than there are steps."""
    calls = []

    def counted(params, example):
        jax.debug.callback(lambda: calls.append(None))
        return loss(params, example)

    lone = {name: jax.tree.map(lambda leaf: leaf[:1], leaves) for name, leaves in sets.items()}
    step, args = setup(counted, params, lone)
    for run in (jax.jit(lambda *a: chunks._scan(step, 9, *a)),
                lambda *a: chunks._dispatch(jax.jit(step), 9, *a)):  # fmt: skip
        calls.clear()
        jax.block_until_ready(run(*args, make_limits(1)))
        jax.effects_barrier()
        assert 0 < len(calls) <= 2 * 6  # two sets, six draws


def test_patience_ends_scans_and_single_dispatches_alike(loss, params, sets):
    """A learning rate that is 0 from the third step on, and again not from the eighth on."""
    rate = optax.join_schedules([lambda t: 0.1, lambda t: 0.0, lambda t: 0.1], [2, 7])
    tx = optax.with_extra_args_support(optax.sgd(rate))
    params = jax.tree.map(jnp.asarray, params)
    step = jax.jit(make_step(Problem(loss, None, None), neg_grad_plus(0.5), tx, {}, 6, "auto"))
    args = (
        first_state(params, tx.init(params), jax.random.key(0)),
        jax.tree.map(jnp.asarray, sets),
        Fixed(params),
    )
    scan = jax.jit(lambda *a: chunks._scan(step, 10, *a))
    for patience, taken, idle in ((1, 3, 1), (3, 5, 3), (5, 7, 5), (6, 10, 0), (None, 10, 0)):
        limits = make_limits(20, patience)
        scanned, many = scan(*args, limits)
        single, few = chunks._dispatch(step, 10, *args, limits)
        for state in (scanned, single):
            assert (int(state.step), int(state.idle)) == (taken, idle)
            assert bool(chunks.is_over(state, limits)) == (taken < 10)
        assert int(many.alive.sum()) == len(few.alive) == taken
        np.testing.assert_allclose(scanned.params["w"], single.params["w"], atol=1e-6)
        assert many.abstained[:taken].tolist() == few.abstained.tolist()
