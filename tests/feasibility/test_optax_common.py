"""Optax's own common test bodies, run against every transformation and rule here.

They are called as they ship in Optax's wheel. Evidence is closed over in a wrapper that makes plain
gradient transformations of ours, chained after gradient descent: examples that agree with the
gradient that comes in, up to noise.
"""

import jax
import jax.numpy as jnp
import optax
import pytest

from feasible_jax.feasibility import certify_updates, feasible_updates

common = pytest.importorskip("optax.contrib._common_test")

# What examples say, in units of the gradient; those that are to increase say the opposite.
NOISE = jnp.linspace(0.9, 1.1, 8)


@pytest.fixture(autouse=True)
def as_optax_tests_itself():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def examples(gradient, sign=1.0):
    def stack(g):
        noise = sign * NOISE.reshape((-1,) + (1,) * g.ndim)
        return (noise * g[None]).astype(g.dtype)

    return jax.tree.map(stack, gradient)


def change_of(gradient):
    """What a step does to each example's loss, to first order."""

    def change(params, updates):
        del params
        products = jax.tree.map(lambda g, u: jnp.sum((g * u).astype(float)), gradient, updates)
        return NOISE * sum(jax.tree.leaves(products))

    return change


def with_evidence(transformation):
    """A factory as Optax has them, of gradient descent and what comes after it."""

    def factory(learning_rate: optax.ScalarOrSchedule, confidence: float = 0.8):
        tx = optax.chain(optax.sgd(learning_rate), transformation(confidence))

        def update(updates, state, params=None, **extra_args):
            evidence = {
                "retain": examples(updates),
                "forget": examples(updates, -1.0),
                "retain_change": change_of(updates),
            }
            return tx.update(updates, state, params, **evidence, **extra_args)

        return optax.GradientTransformationExtraArgs(tx.init, jax.jit(update))

    return factory


def certify(confidence):
    return certify_updates("retain", confidence=confidence, backtrack=1)


@pytest.fixture
def mask(every_rule):
    return with_evidence(lambda confidence: feasible_updates(
        "retain", "forget", confidence=confidence, rule=every_rule()))


@pytest.fixture
def run(monkeypatch):
    def run(body, factory, learning_rate=1e-3, confidence=0.8, **given):
        monkeypatch.setattr(common, "_get_opt_factory", {"ours": factory}.__getitem__)
        case = f"{body}0"  # absl numbers the cases, and keeps the body that they share
        getattr(common.ContribTest, case).__wrapped__(
            common.ContribTest(case), opt_name="ours", wrapper_name=None, wrapper_kwargs=None,
            opt_kwargs={"learning_rate": learning_rate, "confidence": confidence}, **given)

    return run


BODIES = {
"test_optimizers_accept_extra_args": [{"wrap":False}],
"test_optimizers_can_be_wrapped_in_inject_hyperparams": [{}],
"test_preserve_dtype": [{"dtype": d} for d in ("bfloat16","float32")],
"test_gradient_accumulation": [{"dtype": d} for d in ("bfloat16","float32")],
"test_state_shape_dtype_shard_stability": [{"dtype": d} for d in (jnp.float16,jnp.bfloat16,jnp.float32,jnp.float64)],
"test_optimizers_accept_learning_rate_schedule_if_type_annotated_as_such": [{}],
}

@pytest.mark.parametrize("body,given",[(b,g) for b,l in BODIES.items() for g in l])
def test_mask(run, mask, body, given):
    run(body, mask, **given)

@pytest.mark.parametrize("body,given",[(b,g) for b,l in BODIES.items() for g in l])
def test_certify(run, body, given):
    run(body, with_evidence(certify), **given)

TARGETS = ["parabola", "rosenbrock", "matrix_parabola", "mixed_tensor_target"]
@pytest.mark.parametrize("target",TARGETS)
def test_converge_mask(run, mask, target):
    run("test_optimizers", mask, target=getattr(common,"_setup_"+target), dtype="float32")
@pytest.mark.parametrize("target",TARGETS)
def test_converge_cert(run, target):
    run("test_optimizers", with_evidence(certify), target=getattr(common,"_setup_"+target), dtype="float32")
