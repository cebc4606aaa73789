"""Optax's own common test bodies, run against every transformation and rule here.

They are called as they ship in Optax's wheel. What they are given is a factory as Optax has them:
gradient descent, then a transformation of ours, with evidence closed over. The evidence is made of
the gradient that comes in, as if examples agreed on it up to a little noise.
"""

import jax
import jax.numpy as jnp
import optax
import pytest

from feasible_jax.feasibility import accumulate_evidence, certify_updates, feasible_updates

common = pytest.importorskip("optax.contrib._common_test")


def of_dtypes(*names):
    return [{"dtype": jnp.dtype(name)} for name in names]


BODIES = {
    # ``wrap`` concerns Optax's own wrappers, which are none of ours.
    "test_optimizers_accept_extra_args": [{"wrap": False}],
    "test_optimizers_accept_learning_rate_schedule_if_type_annotated_as_such": [{}],
    "test_optimizers_can_be_wrapped_in_inject_hyperparams": [{}],
    "test_preserve_dtype": of_dtypes("bfloat16", "float32"),
    "test_gradient_accumulation": of_dtypes("bfloat16", "float32"),
    "test_state_shape_dtype_shard_stability": of_dtypes(
        "bfloat16", "float16", "float32", "float64"
    ),
}
CASES = [(body, given) for body, cases in BODIES.items() for given in cases]
# A rule can do its worst to these; the others ask of the transformation around it.
OF_RULES = [case for case in CASES if case[0] == "test_state_shape_dtype_shard_stability"]
IN_SUITE = [case for case in CASES if case[1].get("dtype") not in ("float16", "float32")]
TARGETS = ("mixed_tensor_target", "parabola", "rosenbrock", "matrix_parabola")

NOISE = jnp.linspace(0.9, 1.1, 8)


def examples(gradient, sign):
    def stack(g):
        noise = sign * NOISE.reshape((-1,) + (1,) * g.ndim)
        return (noise * g[None]).astype(g.dtype)

    return jax.tree.map(stack, gradient)


def change_along(gradient):
    """What a step does to the loss of each example, to first order."""

    def change(params, updates):
        del params
        along = jax.tree.map(lambda g, u: jnp.sum(g * u).astype(jnp.float32), gradient, updates)
        return NOISE * sum(jax.tree.leaves(along))

    return change


def after_sgd(transformation, wrap=lambda tx: tx):
    def factory(learning_rate: optax.ScalarOrSchedule, confidence: float):
        tx = wrap(optax.chain(optax.sgd(learning_rate), transformation(confidence)))

        def update(updates, state, params=None, **extra_args):
            evidence = {
                "retain": examples(updates, 1),
                "forget": examples(updates, -1),
                "retain_change": change_along(updates),
            }
            return tx.update(updates, state, params, **evidence, **extra_args)

        return optax.GradientTransformationExtraArgs(tx.init, jax.jit(update))

    return factory


def mask(confidence, **options):
    return feasible_updates("retain", "forget", confidence, **options)


def certificate(confidence, **options):
    return certify_updates("retain", confidence=confidence, **options)


def both(confidence):
    return optax.chain(mask(confidence), certificate(confidence, test="student", backtrack=0))


TRANSFORMATIONS = {
    "both": after_sgd(both),
    "mask": after_sgd(mask),
    "certificate": after_sgd(certificate),
    # Its first call returns zeros, which is all that some of the bodies ask for.
    "accumulator": after_sgd(both, wrap=lambda tx: accumulate_evidence(tx, 2)),
}


@pytest.fixture(autouse=True)
def as_optax_tests_itself():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def run(monkeypatch):
    """``(body, factory, **given)``: one of Optax's test bodies on an optimizer of ours."""

    def run(body, factory, **given):
        monkeypatch.setattr(common, "_get_opt_factory", {"ours": factory}.__getitem__)
        # Absl numbers the cases of a body, and keeps the body itself in each.
        case = common.ContribTest(f"{body}0")
        getattr(case, f"{body}0").__wrapped__(
            case,
            opt_name="ours",
            opt_kwargs={"learning_rate": 1e-3, "confidence": 0.8},
            wrapper_name=None,
            wrapper_kwargs=None,
            **given,
        )

    return run


def id_of(value):
    if isinstance(value, dict):
        return "-".join(str(v) for v in value.values()) or "all"
    return value.removeprefix("test_")


def slow_unless(quick, values):
    """Parameters of a test, of which the suite runs the quick ones alone."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)),
                     marks=[] if value in quick else pytest.mark.slow)
        for value in values
    ]  # fmt: skip


@pytest.fixture(params=slow_unless(["both"], TRANSFORMATIONS))
def transformation(request):
    return TRANSFORMATIONS[request.param]


@pytest.fixture(params=slow_unless(TARGETS[:1], TARGETS))
def target(request):
    return getattr(common, f"_setup_{request.param}")


@pytest.mark.parametrize(("body", "given"), slow_unless(IN_SUITE, CASES), ids=id_of)
def test_transformations(run, transformation, body, given):
    run(body, transformation, **given)


@pytest.mark.parametrize(("body", "given"), slow_unless(OF_RULES[:1], CASES), ids=id_of)
def test_rules(run, every_rule, body, given):
    run(body, after_sgd(lambda confidence: mask(confidence, rule=every_rule())), **given)


def test_transformations_converge(run, transformation, target):
    run("test_optimizers", transformation, target=target, dtype="float32")


# Not the rules with an adaptive price: its rate begins where it suits networks and is learnt from
# the steps that were taken. The gradients of these functions are tens, so that none is taken.
@pytest.mark.slow
def test_rules_converge(run, unlearnt_rule, target):
    factory = after_sgd(lambda confidence: mask(confidence, rule=unlearnt_rule()))
    run("test_optimizers", factory, target=target, dtype="float32")
