import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.methods import Method, Objective, Problem
from feasible_jax.moments import GradientMoments, moments_from_per_example
from feasible_jax.unlearning.observation import method_gradient, observe

BATCH = (jnp.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]]), jnp.array([1.0, 0.0, 2.0]))
PARAMS = {"w": jnp.array([0.3, -0.7])}


def loss_fn(params, example):
    inputs, target = example
    return 0.5 * (inputs @ params["w"] - target) ** 2


def per_example_by_hand():
    residual = np.asarray(BATCH[0]) @ np.asarray(PARAMS["w"]) - np.asarray(BATCH[1])
    return residual**2 / 2, residual[:, None] * np.asarray(BATCH[0])


@pytest.mark.parametrize("needs", ["nothing", "mean", "moments", "per_example"])
def test_loss_and_gradient_are_the_means_however_they_are_taken(needs):
    losses, grads = per_example_by_hand()
    seen = jax.jit(lambda p, b: observe(loss_fn, p, b, needs, "auto"))(PARAMS, BATCH)
    np.testing.assert_allclose(seen.loss, losses.mean(), rtol=1e-6)
    np.testing.assert_allclose(seen.gradient["w"], grads.mean(0), rtol=1e-6)


@pytest.mark.parametrize("strategy", ["vmap", "microbatch"])
def test_the_evidence_is_what_was_asked_for(strategy):
    _, grads = per_example_by_hand()
    assert observe(loss_fn, PARAMS, BATCH, "nothing", strategy).evidence is None
    mean = observe(loss_fn, PARAMS, BATCH, "mean", strategy).evidence
    assert isinstance(mean, GradientMoments)
    assert np.isinf(mean.variance["w"]).all()
    moments = observe(loss_fn, PARAMS, BATCH, "moments", strategy).evidence
    want = moments_from_per_example({"w": jnp.asarray(grads)})
    np.testing.assert_allclose(moments.variance["w"], want.variance["w"], rtol=1e-5)
    assert float(moments.count) == 3
    stacks = observe(loss_fn, PARAMS, BATCH, "per_example", strategy).evidence
    np.testing.assert_allclose(stacks["w"], grads, rtol=1e-6)


@pytest.mark.parametrize("needs", ["nothing", "mean", "moments", "per_example"])
def test_the_gradient_has_the_dtype_of_the_parameters(needs):
    def loss(params, example):
        return jnp.sum(params["w"] * example.astype(params["w"].dtype))

    params = {"w": PARAMS["w"].astype(jnp.bfloat16)}
    seen = observe(loss, params, BATCH[0], needs, "auto")
    assert seen.gradient["w"].dtype == jnp.bfloat16


def gradient_of(method, active=None, seen=None, progress=0.25):
    problem = Problem(loss_fn, None, PARAMS)
    batches = {"forget": BATCH, "retain": jax.tree.map(lambda leaf: 2 * leaf, BATCH)}
    active = tuple(o.name for o in method.objectives) if active is None else active
    return method_gradient(
        method, problem, PARAMS, batches, {}, seen or {}, jnp.float32(progress), jax.random.key(0),
        active,
    )  # fmt: skip


def test_weights_schedules_and_penalty_add_up():
    method = Method(
        "m",
        (Objective("forget", "forget"), Objective("retain", "retain")),
        (-0.5, lambda progress: 1 - progress),
        lambda problem, params, progress: progress * jnp.sum(params["w"] ** 2),
    )
    losses, gradient = gradient_of(method)
    plain_losses, grads = per_example_by_hand()
    forget, retain = grads.mean(0), 4 * grads.mean(0)
    want = -0.5 * forget + 0.75 * retain + 2 * 0.25 * np.asarray(PARAMS["w"])
    np.testing.assert_allclose(gradient["w"], want, rtol=1e-5)
    np.testing.assert_allclose(losses["retain"], 4 * plain_losses.mean(), rtol=1e-6)


def test_an_objective_that_does_not_act_adds_nothing_and_reads_nan():
    method = Method("m", (Objective("a", "forget"), Objective("b", "retain")), (1.0, 1.0))
    losses, gradient = gradient_of(method, active=("b",))
    assert np.isnan(losses["a"])
    np.testing.assert_allclose(gradient["w"], 4 * per_example_by_hand()[1].mean(0), rtol=1e-5)


def test_what_was_observed_is_reused_for_the_training_loss_alone():
    seen = {"forget": observe(loss_fn, PARAMS, BATCH, "moments", "auto")}
    marked = {"forget": seen["forget"]._replace(gradient={"w": jnp.array([7.0, 7.0])})}
    shared = Method("m", (Objective("a", "forget"),), (1.0,))
    assert gradient_of(shared, seen=marked)[1]["w"].tolist() == [7.0, 7.0]
    other = Objective("a", "forget", lambda problem, params, example, key: jnp.sum(params["w"]))
    assert gradient_of(shared._replace(objectives=(other,)), seen=marked)[1]["w"].tolist() == [1, 1]


def test_an_objective_sees_the_problem_and_a_key_for_each_example():
    def loss(problem, params, example, key):
        noise = jax.random.normal(key)
        return noise * jnp.sum(params["w"] - problem.original_params["w"] + example[0])

    first, second = (Objective(name, "forget", loss) for name in "ab")
    method = Method("m", (first, second), (1.0, 1.0))
    losses, _ = gradient_of(method)
    assert losses["a"] != losses["b"], "objectives draw keys of their own"
    again, _ = gradient_of(method)
    assert losses["a"] == again["a"]
