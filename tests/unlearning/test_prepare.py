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


def test_rows_go_with_their_examples_and_with_the_set_of_the_objective():
    """A row of another example than the one it is seen with moves the parameters."""

    def mismatch(problem, params, example, key):
        return params["b"] * (problem.beside["ten"] - 10 * example[0]) ** 2

    def none(problem, params, example, key):
        assert problem.beside is None
        return 0.0 * params["b"]

    def run_with(rows):
        beside = {"forget": {"ten": jnp.array(rows)}}
        objectives = (Objective("f", "forget", mismatch), Objective("r", "retain", none))
        method = Method("m", objectives, (1.0, 1.0), prepare=lambda *args: Prepared(beside=beside))
        return float(run(method, steps=3).params["b"])

    assert run_with([10.0, 30.0]) == 3.0
    assert run_with([30.0, 10.0]) == 3.0 - 3 * 0.5 * 20**2


def test_the_optimizer_begins_with_the_prepared_parameters():
    """The state of an optimizer may hold parameters, as that of averaging ones does."""
    towards = optax.GradientTransformation(
        lambda params: params,
        lambda updates, state, params: (jax.tree.map(jnp.subtract, state, params), state),
    )
    begin = jax.tree.map(lambda leaf: leaf + 1, PARAMS)
    result = run(prepared_by(lambda *args: Prepared(params=begin)), optimizer=towards)
    jax.tree.map(np.testing.assert_array_equal, result.params, begin)


def test_the_key_of_a_run_decides_what_is_prepared():
    draw = prepared_by(lambda problem, data, key: Prepared(
        params={"a": jax.random.normal(key, (2,)), "b": jnp.zeros(())}
    ))  # fmt: skip
    still = optax.set_to_zero()
    one, same, other = (run(draw, optimizer=still, key=key).params["a"] for key in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).all()


def test_momentum_and_weight_decay_do_not_slip_past_a_prepared_mask():
    mask = {"a": jnp.array([1.0, 0.0]), "b": jnp.array(False)}
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
        (Prepared(beside={"test": jnp.zeros(2)}), "beside 'test', which is no set"),
        (Prepared(beside={"retain": {"y": jnp.zeros(2)}}), r"\(2,\) at 'y' beside the retain set"),
        (Prepared(beside={"forget": jnp.zeros(())}), "each of its 2 examples"),
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
