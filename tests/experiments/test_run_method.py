from dataclasses import replace

import jax
import numpy as np
import optax
import pytest

from feasible_jax.experiments import make_feasibility, make_method
from feasible_jax.experiments.config import SingleConfig
from feasible_jax.experiments.run_method import chunk_steps, run_method
from feasible_jax.unlearning import unlearn
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


def test_every_setting_arrives(built):
    task = built.task
    found = run_method(CONFIG, task, task.retrained, seed=5)
    expected = unlearn(
        task.loss_fn,
        task.retrained,
        forget=task.forget,
        retain=task.retain,
        method=make_method("gradient_ascent", 10),
        optimizer=optax.sgd(0.01, momentum=0.5),
        feasibility=make_feasibility("feasible"),
        steps=4,
        batch_size=16,
        key=5,
        hyperparams={"confidence": 0.8},
        progress=False,
    )
    for pair in zip(*map(jax.tree.leaves, (found.params, expected.params)), strict=True):
        np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(found.history.kept, expected.history.kept)


def test_other_models_and_seeds_compile_nothing_new(built):
    run_method(CONFIG, built.task, built.task.params, seed=0)
    before = _compiled_chunk.cache_info()
    results = [run_method(CONFIG, built.task, built.task.retrained, seed=s) for s in (1, 2)]
    after = _compiled_chunk.cache_info()
    assert (after.misses, after.hits) == (before.misses, before.hits + 2)
    assert not np.array_equal(*(jax.tree.leaves(result.params)[1] for result in results))


@pytest.mark.parametrize(("steps", "calls"), [(4, [4]), (25, [10, 20, 25])])
def test_a_chunk_is_as_long_as_it_says(built, steps, calls):
    config = replace(CONFIG, steps=steps, arm="plain")
    seen = []
    run_method(
        config, built.task, built.task.params, 0, on_chunk=lambda step, params: seen.append(step)
    )
    assert seen == calls
    assert chunk_steps(config) == calls[0]
