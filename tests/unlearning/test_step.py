import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.methods import Method, Objective, Problem, gradient_ascent, neg_grad_plus
from feasible_jax.unlearning.step import (
    Fixed,
    certified_constraints,
    feasibility_states,
    first_state,
    make_limits,
    make_step,
    merged_requirements,
)

FORGET, RETAIN = Objective("forget", "forget"), Objective("retain", "retain")


def start(tx, params, key=0):
    params = jax.tree.map(jnp.asarray, params)
    return first_state(params, tx.init(params), jax.random.key(key))


def steps_of(method, loss, params, sets, tx, count, batch_size=4, length=10):
    """The states and records of some steps, one by one."""
    state = start(tx, params)
    needs = merged_requirements(state.opt_state)
    step = jax.jit(make_step(Problem(loss, None, None), method, tx, needs, batch_size, "auto"))
    states, records = [state], []
    for _ in range(count):
        state, record = step(state, sets, Fixed(state.params), make_limits(length))
        states.append(state)
        records.append(record)
    return states, records


def identical(vector, target, n=3):
    return np.tile(np.float32(vector), (n, 1)), np.full(n, target, np.float32)


def gradient(params, vector, target):
    residual = float(params["w"] @ np.float32(vector) + params["b"] - target)
    return {"b": residual, "w": residual * np.float32(vector)}


def test_phases_take_turns(loss, params):
    """An alternating method, against the recursion by hand."""
    sets = {"forget": identical([1, 0, 1], 2.0), "retain": identical([0, 1, 1], -1.0)}
    method = Method(
        "turns", (FORGET, RETAIN), (-0.5, 2.0), phases=(("forget",), ("retain",), ("retain",))
    )
    states, records = steps_of(method, loss, params, sets, optax.sgd(0.1), 6)
    here = {"b": 0.5, "w": np.array([1.0, -2.0, 0.25])}
    for t, (state, record) in enumerate(zip(states[1:], records, strict=True)):
        acting, silent = ("forget", "retain") if t % 3 == 0 else ("retain", "forget")
        weight, vector, target = (-0.5, [1, 0, 1], 2.0) if t % 3 == 0 else (2.0, [0, 1, 1], -1.0)
        assert np.isnan(record.losses[silent])
        assert np.isfinite(record.losses[acting])
        assert record.alive
        slope = gradient(here, vector, target)
        here = {name: here[name] - 0.1 * weight * slope[name] for name in here}
        np.testing.assert_allclose(state.params["w"], here["w"], rtol=1e-5)
        np.testing.assert_allclose(state.params["b"], here["b"], rtol=1e-5)


def test_a_loss_that_is_not_finite_matters_only_where_it_acts(loss, params):
    sets = {"forget": identical([1, 0, 1], np.nan), "retain": identical([0, 1, 1], -1.0)}
    turns = Method("turns", (FORGET, RETAIN), (-1.0, 1.0), phases=(("retain",), ("forget",)))
    states, records = steps_of(turns, loss, params, sets, optax.sgd(0.1), 2)
    assert [bool(record.alive) for record in records] == [True, False]
    assert int(states[-1].step) == 1


def test_weights_follow_the_progress_of_the_run(loss, params):
    sets = {"forget": identical([1, 0, 1], 2.0), "retain": identical([0, 1, 1], -1.0)}
    method = Method("m", (RETAIN,), (lambda progress: progress,))
    states, _ = steps_of(method, loss, params, sets, optax.sgd(0.1), 3, length=4)
    here = {"b": 0.5, "w": np.array([1.0, -2.0, 0.25])}
    for t, state in enumerate(states[1:]):
        slope = gradient(here, [0, 1, 1], -1.0)
        here = {name: here[name] - 0.1 * t / 4 * slope[name] for name in here}
        np.testing.assert_allclose(state.params["w"], here["w"], rtol=1e-5)


def test_evidence_is_taken_once_and_shared(params, sets):
    """``atanh`` marks the loss: it must be evaluated once a set, test and method together."""

    def marked(params, example):
        return jnp.arctanh(0.01 * jnp.tanh(example[0] @ params["w"] + params["b"]))

    def evaluations(method, tx):
        state = start(tx, params)
        needs = merged_requirements(state.opt_state)
        step = make_step(Problem(marked, None, None), method, tx, needs, 4, "vmap")
        jaxpr = jax.make_jaxpr(step)(state, sets, Fixed(state.params), make_limits(10))
        return str(jaxpr).count("= atanh ")

    both = fj.feasible_updates(decrease=("retain",), increase=("forget",))
    assert evaluations(neg_grad_plus(), optax.with_extra_args_support(optax.sgd(0.1))) == 2
    assert evaluations(neg_grad_plus(), optax.chain(optax.sgd(0.1), both)) == 2
    assert evaluations(gradient_ascent(), optax.chain(optax.sgd(0.1), both)) == 2
    alone = Objective("own", "forget", lambda problem, p, e, key: problem.loss_fn(p, e))
    own = Method("m", (alone, RETAIN), (-1.0, 1.0))
    assert evaluations(own, optax.chain(optax.sgd(0.1), both)) == 3


def test_a_set_is_drawn_alike_whatever_else_is_drawn(loss, params, sets):
    """Fine-tuning, plain and feasible, sees the same retain batches."""
    tx = optax.with_extra_args_support(optax.sgd(0.0))
    masked = optax.chain(tx, fj.feasible_updates(increase=("another", "forget")))
    sets = {**sets, "another": sets["forget"]}
    method = Method("m", (RETAIN,), (1.0,))
    _, plain = steps_of(method, loss, params, sets, tx, 3)
    _, feasible = steps_of(method, loss, params, sets, masked, 3)
    for one, other in zip(plain, feasible, strict=True):
        assert one.losses["retain"] == other.losses["retain"]
    assert feasible[0].losses["another"] != feasible[0].losses["forget"]


def test_a_step_that_is_not_finite_leaves_no_trace(params, sets):
    def cliff(params, example):
        return jnp.where(jnp.abs(params["b"]) < 2, params["b"], jnp.nan) + 0 * example[1]

    tx = optax.with_extra_args_support(optax.sgd(1.0, momentum=0.9))
    states, records = steps_of(gradient_ascent(), cliff, params, sets, tx, 5)
    # 0.5, 1.5, 1.5 + 1.9 = 3.4: its loss is NaN, and steps two and later change nothing.
    assert [bool(record.alive) for record in records] == [True, True, False, False, False]
    assert int(states[-1].step) == 2
    for state in states[3:]:
        jax.tree.map(np.testing.assert_array_equal, state.params, states[2].params)
        jax.tree.map(np.testing.assert_array_equal, state.opt_state, states[2].opt_state)


def test_parameters_that_stop_being_finite_end_it_too(params, sets):
    def steep(params, example):
        return jnp.sqrt(params["b"] - 0.5) + 0 * example[1]  # 0, with an infinite slope

    states, records = steps_of(gradient_ascent(), steep, params, sets, optax.sgd(1.0), 1)
    assert not records[0].alive
    assert float(states[1].params["b"]) == 0.5


def feasible(name="retain", **kwargs):
    return fj.feasible_updates(decrease=(name,), **kwargs)


@pytest.mark.parametrize(
    "tx",
    [
        feasible(),
        optax.chain(optax.sgd(0.1), feasible()),
        optax.chain(optax.chain(optax.sgd(0.1)), optax.chain(feasible())),
        optax.MultiSteps(optax.chain(optax.sgd(0.1), feasible()), 2).gradient_transformation(),
        optax.apply_if_finite(optax.chain(optax.sgd(0.1), feasible()), 3),
        optax.partition({"a": optax.chain(optax.sgd(0.1), feasible())}, {"b": "a", "w": "a"}),
        optax.masked(feasible(), {"b": False, "w": True}),
    ],
)
def test_requirements_are_read_through_any_wrapper(tx, params):
    state = tx.init(jax.tree.map(jnp.asarray, params))
    assert len(feasibility_states(state)) == 1
    assert merged_requirements(state) == {"retain": "moments"}


def test_the_dearest_evidence_that_is_asked_for_does_for_all(params):
    tx = optax.chain(
        feasible(rule=fj.sign_agreement()),
        feasible(rule=fj.groupwise()),
        feasible("other", rule=fj.random_mask(0.5)),
        feasible(),
    )
    state = tx.init(jax.tree.map(jnp.asarray, params))
    assert merged_requirements(state) == {"retain": "per_example", "other": "nothing"}


def test_a_state_keeps_its_types(loss, params, sets):
    tx = optax.chain(optax.sgd(0.1, momentum=0.9), feasible())
    states, _ = steps_of(gradient_ascent(), loss, params, sets, tx, 1)
    before, after = (jax.eval_shape(lambda s=state: s) for state in states)
    assert before == after


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: tx,
        lambda tx: optax.chain(optax.sgd(0.1), optax.chain(feasible(), tx)),
        lambda tx: optax.apply_if_finite(optax.chain(optax.sgd(0.1), tx), 3),
    ],
)
def test_certificates_are_read_through_any_wrapper(wrap, params):
    both = fj.certify_updates(("retain", "group"), change="direction")
    state = wrap(both).init(jax.tree.map(jnp.asarray, params))
    assert certified_constraints(state) == {"retain": "direction", "group": "direction"}
    assert set(merged_requirements(state)) <= {"retain"}
