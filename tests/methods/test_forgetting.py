"""With default settings, methods forget and keep utility: on blobs, and on digits if slow."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax import methods
from feasible_jax.experiments import TaskConfig, build_task
from feasible_jax.experiments.held_out import held_out_like_forget
from feasible_jax.methods.one_shot import is_one_shot

SGD, ADAM = (optax.inject_hyperparams(make)(0.1) for make in (optax.sgd, optax.adam))


def accuracy(predict, params, examples):
    return float(np.mean(predict(params, examples.inputs).argmax(-1) == examples.labels))


def unlearn(task_like, method, optimizer, rate, steps=120, held_out=None):
    loss, predict, params, forget, retain = task_like
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam refuses strict promotion
        result = fj.unlearn(
            loss, params, forget=forget, retain=retain, method=method, optimizer=optimizer,
            hyperparams={"learning_rate": rate}, steps=steps, predict_fn=predict, progress=False,
            rewind_to=held_out,
        )  # fmt: skip
    return [accuracy(predict, result.params, examples) for examples in (forget, retain)]


def predict(params, inputs):
    hidden = jnp.tanh(inputs @ params["hidden"]["w"])
    return hidden @ params["head"]["w"] + params["head"]["b"][None]


def loss(params, example):
    logits = predict(params, example.inputs[None])[0]
    return jax.nn.logsumexp(logits) - logits[example.labels]


@pytest.fixture(scope="module")
def blobs():
    """Four classes in eight dimensions, a network that knows them, and one class to forget."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    inputs = np.float32(2 * np.eye(4, 8)[labels] + rng.normal(0, 0.4, (200, 8)))
    params = {
        "hidden": {"w": jnp.asarray(rng.normal(0, 0.5, (8, 16)), jnp.float32)},
        "head": {"w": jnp.asarray(rng.normal(0, 0.3, (16, 4)), jnp.float32), "b": jnp.zeros(4)},
    }

    @jax.jit
    def train(params, inputs, labels):
        def mean_loss(params):
            return jax.vmap(loss, in_axes=(None, 0))(params, fj.Examples(inputs, labels)).mean()

        def step(_, params):
            return jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.grad(mean_loss)(params))

        return jax.lax.fori_loop(0, 300, step, params)

    params = train(params, inputs, labels)
    forget, retain = (fj.Examples(inputs[w], labels[w]) for w in (labels == 0, labels != 0))
    assert accuracy(predict, params, forget) == accuracy(predict, params, retain) == 1
    return loss, predict, params, forget, retain


@pytest.mark.parametrize(
    ("method", "optimizer", "rate"),
    [
        pytest.param(methods.bad_teacher(), SGD, 0.3, id="bad_teacher"),
        pytest.param(methods.hamu(), SGD, 0.1, id="hamu"),
        pytest.param(methods.scrub(), ADAM, 0.02, id="scrub"),
        pytest.param(methods.scrub_r(), ADAM, 0.02, id="scrub_r"),
        pytest.param(methods.sfron(), SGD, 0.3, id="sfron"),
        pytest.param(methods.unsir(), SGD, 0.3, id="unsir"),
    ],
)
def test_a_class_of_blobs_is_forgotten(method, optimizer, rate, blobs):
    held_out = blobs[3] if method.rewinds else None  # blobs of the class, seen or not, are alike
    forget, retain = unlearn(blobs, method, optimizer, rate, held_out=held_out)
    assert forget < 0.3
    assert retain > 0.95


DIGITS = {
    "amnesiac": (methods.amnesiac(10), SGD, 0.01, "class"),
    "bad_teacher": (methods.bad_teacher(), SGD, 0.1, "class"),
    "boundary_expand": (methods.boundary_expand(), SGD, 0.03, "class"),
    "boundary_shrink": (methods.boundary_shrink(), SGD, 0.01, "class"),
    "cf_k": (methods.cf_k(), SGD, 1.0, "corrupted_labels"),
    "eu_k": (methods.eu_k(), SGD, 0.5, "corrupted_labels"),
    "fine_tuning": (methods.fine_tuning(), SGD, 1.0, "corrupted_labels"),
    "fisher_forgetting": (methods.fisher_forgetting(), SGD, 1.0, "corrupted_labels"),
    "gdr_gma": (methods.gdr_gma(), SGD, 0.05, "corrupted_labels"),
    "hamu": (methods.hamu(), SGD, 0.03, "class"),
    "influence_unlearning": (methods.influence_unlearning(), SGD, 1.0, "class"),
    "l1_sparse": (methods.l1_sparse(), SGD, 1.0, "corrupted_labels"),
    "munba": (methods.munba(), SGD, 0.01, "class"),
    "neg_grad_plus": (methods.neg_grad_plus(), SGD, 0.1, "corrupted_labels"),
    "npo": (methods.npo(), SGD, 0.1, "class"),
    "random_labels": (methods.random_labels(10), SGD, 0.1, "class"),
    "salun": (methods.salun(10), SGD, 0.1, "class"),
    "scrub": (methods.scrub(), ADAM, 2e-3, "class"),
    "scrub_r": (methods.scrub_r(), ADAM, 2e-3, "class"),
    "sfron": (methods.sfron(), SGD, 0.1, "class"),
    "sim_npo": (methods.sim_npo(), SGD, 0.1, "class"),
    "ssd": (methods.ssd(), SGD, 1.0, "class"),
    "unsir": (methods.unsir(), SGD, 0.1, "class"),
}


@pytest.fixture(scope="module")
def digits():
    return {name: build_task(TaskConfig(), name).task for name in ("class", "corrupted_labels")}


@pytest.mark.slow
@pytest.mark.parametrize("name", DIGITS)
def test_digits_are_forgotten(name, digits):
    method, optimizer, rate, scenario = DIGITS[name]
    task = digits[scenario]
    task_like = (task.loss_fn, task.predict_fn, task.params, task.forget, task.retain)
    steps = 1 if is_one_shot(method) else 120
    held_out = held_out_like_forget(task) if method.rewinds else None
    forget, retain = unlearn(task_like, method, optimizer, rate, steps, held_out)
    # As is known of them: noise costs utility, and fine-tuning forgets little.
    little = {"fisher_forgetting": 0.6, "cf_k": 0.95, "fine_tuning": 0.75, "l1_sparse": 0.6}
    assert forget < little.get(name, 0.1 if name == "neg_grad_plus" else 0.05)
    assert retain > (0.75 if name == "fisher_forgetting" else 0.94)
