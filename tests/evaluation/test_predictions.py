import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.evaluation import predict
from feasible_jax.unlearning.task import Examples


def some_examples(count, seed=0):
    rng = np.random.default_rng(seed)
    return Examples(rng.normal(size=(count, 5)).astype(np.float32), rng.integers(0, 3, count))


PARAMS = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 13])
def test_padding_changes_nothing(count):
    examples = some_examples(count)
    result = predict(lambda params, inputs: inputs @ params, PARAMS, examples, batch_size=4)
    np.testing.assert_allclose(result.logits, examples.inputs @ PARAMS, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(result.labels, examples.labels)


def test_sets_of_all_sizes_share_one_compilation():
    shapes = []

    def predict_fn(params, inputs):
        shapes.append(inputs.shape)
        return inputs @ params

    for count in (1, 7, 8, 20):
        predict(predict_fn, PARAMS, some_examples(count), batch_size=8)
        predict(predict_fn, PARAMS + 1, some_examples(count), batch_size=8)
    assert shapes == [(8, 5)]


def test_padding_brings_no_nan_of_its_own():
    def normalised(params, inputs):
        return inputs / jnp.linalg.norm(inputs, axis=1, keepdims=True) @ params

    with jax.debug_nans(True):
        result = predict(normalised, PARAMS, some_examples(3), batch_size=8)
    assert np.isfinite(result.logits).all()


def test_half_precision_logits_come_back_as_float32_on_the_host():
    result = predict(lambda p, x: (x @ p).astype(jnp.bfloat16), PARAMS, some_examples(3))
    assert isinstance(result.logits, np.ndarray)
    assert result.logits.dtype == np.float32


def test_parameters_may_be_any_tree():
    params = {"w": PARAMS, "b": np.ones(3, np.float32)}
    examples = some_examples(3)
    result = predict(lambda p, x: x @ p["w"] + p["b"][None], params, examples)
    np.testing.assert_allclose(result.logits, examples.inputs @ PARAMS + 1, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("predict_fn", "message"),
    [
        (lambda p, x: x.sum(axis=1), r"shape \(4,\).*\(4, num_classes\)"),
        (lambda p, x: (x @ p)[:2], r"shape \(2, 3\)"),
    ],
)
def test_what_is_not_logits_is_named(predict_fn, message):
    with pytest.raises(ValueError, match=message):
        predict(predict_fn, PARAMS, some_examples(4), batch_size=4)


@pytest.mark.parametrize(
    ("examples", "batch_size", "message"),
    [
        (Examples(np.zeros((0, 5)), np.zeros(0, int)), 4, "at least one"),
        (Examples(np.zeros((3, 5)), np.zeros(2, int)), 4, "2 labels"),
        (Examples(np.zeros((3, 5)), np.zeros((3, 3), int)), 4, r"labels have shape \(3, 3\)"),
        (some_examples(3), 0, "batch_size is 0"),
    ],
)
def test_bad_examples_are_named(examples, batch_size, message):
    with pytest.raises(ValueError, match=message):
        predict(lambda p, x: x @ p, PARAMS, examples, batch_size)
