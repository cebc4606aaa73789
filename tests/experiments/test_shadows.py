from dataclasses import replace

import jax
import numpy as np
import pytest

from feasible_jax.evaluation import evaluate_ensembles
from feasible_jax.experiments import Shadows, TaskConfig, train_shadows
from feasible_jax.experiments.config import SingleConfig
from feasible_jax.experiments.run_method import run_method
from feasible_jax.experiments.shadows import check_shadows, shadow_work
from feasible_jax.models import build_model, train
from feasible_jax.unlearning.task import Examples

# The sets are those of the fixture ``built``.
CONFIG = SingleConfig(
    task=TaskConfig(train_size=200, validation_size=100, test_size=100, epochs=30),
    scenario="corrupted_labels",
    method="gradient_ascent",
    arm="plain",
    learning_rate=0.01,
    steps=4,
    batch_size=16,
    seed=1,
)
COUNT = 3


@pytest.fixture(scope="module")
def made(built):
    told, kept = [], {}

    def keep(name, make, like):
        kept[name] = make()
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), kept[name])
        assert shapes == like
        return kept[name]

    shadows = train_shadows(
        CONFIG, built.task, COUNT, kept=keep, on_progress=lambda *of: told.append(of)
    )
    return shadows, kept, told


def assert_close(one, other):
    for pair in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(*pair, rtol=1e-3, atol=1e-4)


def test_each_kind_is_trained_on_its_own_sets(built, made):
    task, (shadows, _, _) = built.task, made
    model = build_model("mlp", (8, 8, 1), 10)
    both = Examples(*(np.concatenate(p) for p in zip(task.forget, task.retain, strict=True)))
    for kind, examples, seed in (
        ("original", both, 2),
        ("retrained", task.retain, 5),
        ("reference", task.retain, 8),
    ):
        last = jax.tree.map(lambda leaf: leaf[-1], getattr(shadows, kind))
        assert_close(last, train(model, examples, epochs=30, seed=seed + COUNT - 1))


def test_the_unlearned_are_the_originals_after_the_run(built, made):
    shadows, _, _ = made
    for i in range(COUNT):
        original, unlearned = (
            jax.tree.map(lambda leaf, i=i: leaf[i], kind)
            for kind in (shadows.original, shadows.unlearned)
        )
        assert_close(unlearned, run_method(CONFIG, built.task, original, 2 + i).params)


def test_no_two_models_are_alike(made):
    shadows, _, _ = made
    heads = np.concatenate([kind["head"]["kernel"].reshape(COUNT, -1) for kind in shadows])
    assert len(np.unique(heads, axis=0)) == 4 * COUNT


def test_the_amount_of_work_is_known_before(made):
    _, _, told = made
    assert sum(units for _, units in told) == shadow_work(CONFIG, COUNT) == 93


def test_what_was_kept_is_not_made_again(built, made, monkeypatch):
    shadows, kept, _ = made
    assert set(kept) == {f"shadows-3-{kind}" for kind in Shadows._fields}
    for name in ("train_ensemble", "run_method"):
        monkeypatch.setattr(f"feasible_jax.experiments.shadows.{name}", pytest.fail)
    told = []
    again = train_shadows(
        CONFIG,
        built.task,
        COUNT,
        kept=lambda name, make, like: kept[name],
        on_progress=lambda *of: told.append(of),
    )
    assert all(a is b for a, b in zip(again, shadows, strict=True))
    assert sum(units for _, units in told) == shadow_work(CONFIG, COUNT)


def test_they_are_fit_for_the_yardsticks(built, made):
    shadows, _, _ = made
    original, reference = (
        evaluate_ensembles(built.task, members, shadows.retrained)
        for members in (shadows.original, shadows.reference)
    )
    # Wrong labels, learned by the originals alone.
    assert original["u_lira"] > 75 > 65 > reference["u_lira"]


def test_what_cannot_have_shadows_is_refused_before_training():
    with pytest.raises(ValueError, match="2 shadow models: give at least 3"):
        check_shadows(CONFIG, 2)
    with pytest.raises(ValueError, match="'mine:make' cannot be trained"):
        check_shadows(replace(CONFIG, task_function="mine:make"), 16)
