import jax.numpy as jnp
import numpy as np
import pytest

import feasible_jax as fj

GOOD = fj.Examples(np.ones((4, 5), np.float32), np.array([0, 1, 2, 0]))


def task(**changes):
    fields = {
        "name": "toy", "loss_fn": lambda params, example: jnp.sum(params), "predict_fn": jnp.dot,
        "params": np.zeros((5, 3)), "forget": GOOD, "retain": GOOD, "validation": GOOD,
        "test": GOOD, "num_classes": 3,
    }  # fmt: skip
    return fj.Task(**{**fields, **changes})


def inputs(array):
    return GOOD._replace(inputs=array)


def labels(array):
    return GOOD._replace(labels=np.asarray(array))


def nan_at(row, dtype=np.float32):
    array = np.ones((4, 5), dtype)
    array[row, 2] = np.nan
    return inputs(array)


def test_a_good_task_is_frozen_and_has_no_reference_by_default():
    good = task()
    assert good.retrained is None
    assert good.forget_true_labels is None
    assert good.forget_validation is None
    with pytest.raises(AttributeError):
        good.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("name", ["forget", "retain", "validation", "test", "forget_validation"])
@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (fj.Examples(np.ones((0, 5)), np.zeros(0, int)), "is empty"),
        (inputs(np.ones((3, 5))), r"\(3, 5\) but 4 labels"),
        (inputs(np.float32(1)), "but 4 labels"),
        (labels([0, 1, 2, 3]), r"run from 0 to 3, outside \[0, 3\)"),
        (labels([0, -1, 2, 0]), "run from -1 to 2"),
        (labels([0, -100, 2, 0]), "run from -100"),
        (labels([0.0, 1.0, 2.0, 0.0]), "dtype float64"),
        (labels([True, False, True, False]), "dtype bool"),
        (labels(np.zeros((4, 3), int)), r"shape \(4, 3\)"),
        (nan_at(2), r"inputs\[2\] holds NaN"),
        (nan_at(0, jnp.bfloat16), r"inputs\[0\] holds NaN"),
        (inputs(np.full((4, 5), np.inf)), r"inputs\[0\]"),
    ],
)
def test_a_bad_set_is_named(name, examples, message):
    with pytest.raises(ValueError, match=message) as error:
        task(**{name: examples})
    assert name in str(error.value)


def test_shapes_must_agree_between_the_sets():
    with pytest.raises(ValueError, match=r"retain.inputs has shape \(4, 6\).*\(4, 5\)"):
        task(retain=inputs(np.ones((4, 6))))


def test_ragged_inputs_are_refused():
    with pytest.raises(ValueError, match=r"inhomogeneous|sequence"):
        task(test=inputs([[1.0, 2.0], [1.0]]))


def test_jax_arrays_and_lone_examples_do():
    few = fj.Examples(jnp.ones((1, 5)), jnp.array([2], jnp.uint8))
    assert task(forget=few, forget_true_labels=np.array([1])).forget is few


@pytest.mark.parametrize("true_labels", [np.array([0, 1]), np.zeros((4, 1), int)])
def test_there_is_one_true_label_an_example(true_labels):
    with pytest.raises(ValueError, match="forget_true_labels has shape"):
        task(forget_true_labels=true_labels)
