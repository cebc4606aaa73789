import jax
import numpy as np

from feasible_jax.experiments import TaskConfig, build_task
from feasible_jax.models import build_model, train
from feasible_jax.unlearning import Examples


def same(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_the_retrained_model_never_saw_the_forget_set():
    config = TaskConfig(train_size=100, epochs=2)
    task = build_task(config, "corrupted_labels", seed=1).task
    model = build_model("mlp", task.retain.inputs.shape[1:], task.num_classes)
    # The order counts too: the rows that a shuffle names are others in another order.
    everything = Examples(*map(np.concatenate, zip(task.forget, task.retain, strict=True)))
    without, with_it = (train(model, e, epochs=2, seed=1) for e in (task.retain, everything))
    assert same(task.retrained, without)
    assert same(task.params, with_it)
    assert not same(without, with_it)


def test_no_other_set_holds_an_example_of_the_forget_set(built):
    task = built.task
    forget = {image.tobytes() for image in np.asarray(task.forget.inputs)}
    for examples in (task.retain, task.validation, task.test):
        # Digits holds a few identical images, so a handful may coincide.
        shared = sum(image.tobytes() in forget for image in np.asarray(examples.inputs))
        assert shared <= 1
    assert (np.asarray(task.forget.labels) != np.asarray(task.forget_true_labels)).all()
    assert task.forget_validation is None
    assert built.original_seconds > 0
    assert built.retrained_seconds > 0


def test_same_seed_same_models_other_seed_others(built):
    config = TaskConfig(train_size=200, validation_size=100, test_size=100, epochs=5)
    again = build_task(config, "corrupted_labels", seed=1).task
    other = build_task(config, "corrupted_labels", seed=2).task
    for a, b in zip(jax.tree.leaves(built.task.params), jax.tree.leaves(again.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(built.task.forget.inputs, other.forget.inputs)


def test_kept_models_are_used_and_epochs_reported():
    seen, kept = [], {}

    def trained(role, run, like):
        params, seconds = run()
        assert jax.tree.structure(params) == jax.tree.structure(like)
        kept[role] = params
        return params, seconds

    config = TaskConfig(train_size=100, epochs=2)
    build_task(config, "random", on_epoch=lambda *event: seen.append(event[:3]), trained=trained)
    assert seen == [(role, e, 2) for role in ("original", "retrained") for e in (1, 2)]
    task = build_task(config, "random", trained=lambda role, run, like: (kept[role], 1.0)).task
    assert task.params is kept["original"]
    assert task.retrained is kept["retrained"]
