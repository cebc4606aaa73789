from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.experiments import make_feasibility, make_method
from feasible_jax.experiments.config import SingleConfig
from feasible_jax.experiments.held_out import held_out_like_forget
from feasible_jax.experiments.run_method import chunk_steps, pace_for, run_method
from feasible_jax.unlearning.unlearn import _compiled_chunk

CONFIG = SingleConfig(
    method="gradient_ascent",
    arm="feasible",
    confidence=0.8,
    learning_rate=0.01,
    momentum=0.5,
    steps=4,
    batch_size=16,
)


def test_every_setting_arrives(built, monkeypatch):
    given = {}
    monkeypatch.setattr(
        "feasible_jax.experiments.run_arm.unlearn",
        lambda loss_fn, params, **options: given.update(options | {"of": (loss_fn, params)}),
    )
    task = built.task
    run_method(CONFIG, task, task.retrained, seed=5, progress=True)
    assert given["of"][0] is task.loss_fn
    assert given["of"][1] is task.retrained
    for name in ("forget", "retain", "predict_fn"):
        assert given[name] is getattr(task, name)
    assert given["method"] is make_method("gradient_ascent", 10)
    assert given["feasibility"] is make_feasibility("feasible", 0.5)
    assert given["hyperparams"] == {"learning_rate": 0.01, "confidence": 0.8}
    assert (given["steps"], given["batch_size"], given["key"]) == (4, 16, 5)
    assert given["progress"]
    state = given["optimizer"].init(jnp.zeros(1))
    first, state = given["optimizer"].update(jnp.ones(1), state)
    second, _ = given["optimizer"].update(jnp.ones(1), state)
    np.testing.assert_allclose([first[0], second[0]], [-0.01, -0.015], rtol=1e-6)
    run_method(replace(CONFIG, arm="plain"), task, task.retrained, seed=5)
    assert given["feasibility"] is None
    assert given["hyperparams"] == {"learning_rate": 0.01}


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({"method": "scrub"}, (0.002, 100, "adam")),
        ({"method": "scrub_r"}, (0.002, 100, "adam")),
        ({"method": "scrub", "optimizer": "sgd"}, (0.1, 100, "sgd")),
        ({"method": "munba"}, (0.01, 100, "sgd")),
        ({"method": "munba", "optimizer": "adam"}, (0.001, 100, "adam")),
        ({"method": "munba", "learning_rate": 0.5, "steps": 3}, (0.5, 3, "sgd")),
    ],
)
def test_what_is_not_given_is_the_methods_own(given, want):
    assert pace_for(SingleConfig(**given)) == want


def test_adam_steps_as_adam_does(built, monkeypatch):
    given = {}
    monkeypatch.setattr(
        "feasible_jax.experiments.run_arm.unlearn", lambda *_, **options: given.update(options)
    )
    config = SingleConfig(method="scrub", arm="plain", steps=1)
    run_method(config, built.task, built.task.params, seed=0)
    assert given["hyperparams"] == {"learning_rate": 0.002}
    assert "InjectStatefulHyperparamsState" in type(given["optimizer"].init(jnp.zeros(1))).__name__
    with jax.numpy_dtype_promotion("standard"):
        step, _ = given["optimizer"].update(jnp.full(1, 7.0), given["optimizer"].init(jnp.zeros(1)))
    np.testing.assert_allclose(step, [-0.01], rtol=1e-4)  # whatever the gradient's size


@pytest.mark.usefixtures("promoting")
def test_a_method_that_goes_back_does_so_to_unseen_examples_like_the_forget_set(built):
    config, task = SingleConfig(method="scrub_r", arm="plain", steps=30, batch_size=16), built.task
    seen, result = looked_at(config, task)
    plain, _ = looked_at(replace(config, method="scrub"), task)
    assert list(seen) == [10, 20, 30]
    for one, other in zip(jax.tree.leaves(seen), jax.tree.leaves(plain), strict=True):
        np.testing.assert_array_equal(one, other)
    unseen = held_out_like_forget(task, seed=5)
    wanted = error(task, seen[30], unseen)
    gaps = {step: abs(error(task, params, task.forget) - wanted) for step, params in seen.items()}
    nearest = max(step for step, gap in gaps.items() if gap == min(gaps.values()))
    assert result.rewound_to == nearest
    back = run_method(config, task, task.params, seed=5, rewind_to=0.0)
    assert back.rewound_to == max(
        seen, key=lambda step: (-error(task, seen[step], task.forget), step)
    )


def looked_at(config, task):
    seen = {}
    result = run_method(
        config, task, task.params, 5, on_look=lambda step, params: seen.update({step: params})
    )
    return seen, result


def error(task, params, examples):
    logits = np.asarray(task.predict_fn(params, examples.inputs))
    return float(np.mean(logits.argmax(-1) != examples.labels))


def test_other_models_and_seeds_compile_nothing_new(built):
    config = replace(CONFIG, arm="plain")
    run_method(config, built.task, built.task.params, seed=0)
    before = _compiled_chunk.cache_info()
    results = [run_method(config, built.task, built.task.retrained, seed=s) for s in (1, 2)]
    after = _compiled_chunk.cache_info()
    assert (after.misses, after.hits) == (before.misses, before.hits + 2)
    assert not np.array_equal(*(jax.tree.leaves(result.params)[1] for result in results))


@pytest.mark.parametrize(("steps", "calls"), [(4, [4]), (25, [10, 20, 25])])
def test_a_chunk_is_as_long_as_it_says(built, steps, calls):
    config = replace(CONFIG, steps=steps, arm="plain")
    seen = []
    run_method(
        config, built.task, built.task.params, 0, on_look=lambda step, params: seen.append(step)
    )
    assert seen == calls
    assert chunk_steps(config) == calls[0]
