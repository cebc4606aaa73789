"""What a method makes before its first step, and what becomes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.methods import Method, Objective, Prepared, gradient_ascent
from feasible_jax.unlearning.prepare import mask_updates

RETAIN, FORGET = Objective("retain", "retain"), Objective("forget", "forget")
DATA = {"forget": jnp.array([[1.0], [3.0]]), "retain": jnp.array([[2.0], [4.0], [6.0]])}
PARAMS = {"a": jnp.array([1.0, 2.0]), "b": jnp.array(3.0)}


def loss(params, example):
    return example[0] * (params["a"].sum() + params["b"])


def run(method, steps=1, optimizer=None, **kwargs):
    return fj.unlearn(
        loss, PARAMS, **DATA, method=method, optimizer=optimizer or optax.sgd(0.5), steps=steps,
        batch_size=4, progress=False, **kwargs,
    )  # fmt: skip


def prepared_by(prepare, **kwargs):
    return Method("prepared", (RETAIN,), (1.0,), prepare=prepare, **kwargs)


def test_it_sees_the_whole_sets_and_the_original_and_objectives_see_what_it_left():
    def prepare(problem, data, key):
        del key
        mean = data["retain"].mean() + 10 * data["forget"].mean()
        return Prepared(extras=mean * problem.original_params["b"])

    def constant(problem, params, example, key):
        return problem.extras * params["b"]

    method = Method("m", (Objective("o", "forget", constant),), (1.0,), prepare=prepare)
    result = run(method)
    assert float(result.params["b"]) == 3.0 - 0.5 * (4 + 10 * 2) * 3
    assert result.params["a"].tolist() == [1.0, 2.0]


def test_a_run_begins_with_the_prepared_parameters_and_remembers_the_original():
    def prepare(problem, data, key):
        return Prepared(params=jax.tree.map(lambda p: p * 0, problem.original_params))

    def towards_original(problem, params, progress):
        gaps = jax.tree.map(lambda p, o: jnp.sum((p - o) ** 2), params, problem.original_params)
        return 0.5 * sum(jax.tree.leaves(gaps))

    method = Method("m", (), (), penalty=towards_original, prepare=prepare)
    result = run(method)
    np.testing.assert_allclose(result.params["a"], [0.5, 1.0])
    np.testing.assert_allclose(result.params["b"], 1.5)
    assert result.history.losses == {}


def test_the_key_of_a_run_decides_what_is_prepared():
    draw = prepared_by(lambda problem, data, key: Prepared(
        params={"a": jax.random.normal(key, (2,)), "b": jnp.zeros(())}
    ))  # fmt: skip
    still = optax.set_to_zero()
    one, same, other = (run(draw, optimizer=still, key=key).params["a"] for key in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).all()


def test_momentum_and_weight_decay_do_not_slip_past_a_prepared_mask():
    mask = {"a": jnp.array([1.0, 0.0]), "b": jnp.array(0.0)}
    optimizer = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9))
    method = prepared_by(lambda problem, data, key: Prepared(mask=mask))
    feasibility = fj.feasible_updates(decrease=("retain",), rule=fj.random_mask(1.0))
    for chained in (None, feasibility):
        params = run(method, 5, optimizer, feasibility=chained).params
        assert params["a"][1] == 2.0
        assert params["b"] == 3.0
        assert params["a"][0] != 1.0


def test_a_second_run_prepares_without_compiling_anew():
    traces = []

    def prepare(problem, data, key):
        traces.append(None)
        return Prepared(extras=key)

    method = prepared_by(prepare)
    run(method)
    run(method, key=3)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (Prepared(params={"a": jnp.zeros(2)}), "another structure"),
        (Prepared(params={"a": jnp.zeros(3), "b": jnp.zeros(())}), r"\(3,\) float32 at 'a'"),
        (Prepared(params={"a": jnp.zeros(2, int), "b": jnp.zeros(())}), r"int32 at 'a'"),
        (Prepared(params={"a": jnp.zeros(2), "b": jnp.array(jnp.nan)}), "not finite at 'b'"),
        (Prepared(mask={"a": jnp.zeros(2)}), "mask of another structure"),
        (Prepared(mask={"a": jnp.zeros(3), "b": jnp.zeros(())}), r"mask of shape \(3,\) at 'a'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(made, message):
    with pytest.raises(ValueError, match=message) as error:
        run(prepared_by(lambda problem, data, key: made))
    assert "'prepared'" in str(error.value)


def test_something_else_than_prepared_is_refused():
    with pytest.raises(TypeError, match="returned int, not a Prepared"):
        run(prepared_by(lambda problem, data, key: 3))


def test_an_update_that_is_not_finite_does_not_pass_a_mask_of_zero():
    tx = mask_updates()
    masked, _ = tx.update(jnp.array([jnp.nan, 2.0]), tx.init(PARAMS), method_mask=jnp.array([0, 1]))
    assert masked.tolist() == [0.0, 2.0]


def test_without_a_mask_updates_pass_as_they_are():
    assert mask_updates().update(3.0, optax.EmptyState())[0] == 3.0


def test_gradients_are_combined_by_the_method():
    seen = {}

    def combine(gradients, losses, progress):
        seen.update(gradients=set(gradients), losses=set(losses))
        return jax.tree.map(lambda f, r: r / f, gradients["forget"], gradients["retain"])

    data = {"forget": jnp.full((2, 1), 2.0), "retain": jnp.full((2, 1), 8.0)}
    method = Method("ratio", (FORGET, RETAIN), (), combine=combine)
    result = fj.unlearn(
        loss, PARAMS, **data, method=method, optimizer=optax.sgd(1.0), steps=1, progress=False
    )
    np.testing.assert_allclose(result.params["b"], 3.0 - 4.0)
    assert seen == {"gradients": {"forget", "retain"}, "losses": {"forget", "retain"}}


def test_a_schedule_decides_which_phase_acts():
    method = Method(
        "scheduled", (FORGET, RETAIN), (-1.0, 1.0), phases=(("forget",), ("retain",)),
        schedule=lambda step, progress: progress >= 0.5,
    )  # fmt: skip
    losses = run(method, 4).history.losses
    assert np.isfinite(losses["forget"]).tolist() == [True, True, False, False]
    assert np.isfinite(losses["retain"]).tolist() == [False, False, True, True]


def test_a_method_without_prepare_is_left_alone():
    assert run(gradient_ascent()).opt_state == optax.sgd(0.5).init(PARAMS)
