import numpy as np
import pytest

from feasible_jax.evaluation import ensemble_margins, label_margin, predict
from feasible_jax.evaluation.ensembles import matched_margins
from feasible_jax.unlearning.task import Examples


def test_each_row_is_a_model(memorised):
    members = np.stack([memorised.params, memorised.retrained, 0 * memorised.params])
    margins = ensemble_margins(memorised.predict_fn, members, memorised.forget, batch_size=7)
    assert margins.shape == (3, 30)
    for row, params in zip(margins, members, strict=True):
        expected = label_margin(predict(memorised.predict_fn, params, memorised.forget))
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(margins[2], -np.log(2))


def test_an_ensemble_compiles_once():
    traces = []

    def counted(params, inputs):
        traces.append(inputs.shape)
        return inputs * params["scale"] + params["shift"][None]

    some = Examples(np.eye(3, dtype=np.float32), np.arange(3))
    members = {"scale": np.arange(4.0, dtype=np.float32), "shift": np.zeros((4, 3), np.float32)}
    ensemble_margins(counted, members, some)
    assert len(traces) == 1


@pytest.mark.parametrize("members", [{"a": np.zeros((2, 3)), "b": np.zeros(3)}, np.float32(1)])
def test_leaves_of_different_ensembles_are_refused(members):
    some = Examples(np.eye(3, dtype=np.float32), np.arange(3))
    with pytest.raises(ValueError, match="the leaves of members have leading axes"):
        ensemble_margins(lambda params, inputs: inputs, members, some)


def test_infinite_margins_are_limited():
    first, second = matched_margins([[np.inf, -np.inf, 3.0]], [[0.0, 1e9, -1e9]], at_least=1)
    np.testing.assert_array_equal(first, [[100, -100, 3]])
    np.testing.assert_array_equal(second, [[0, 100, -100]])


@pytest.mark.parametrize(
    ("unlearned", "retrained", "message"),
    [
        (np.zeros((3, 2)), np.zeros((4, 2)), r"\(3, 2\) and retrained \(4, 2\)"),
        (np.zeros(3), np.zeros(3), "models, examples"),
        (np.zeros((3, 0)), np.zeros((3, 0)), "models, examples"),
        (np.zeros((2, 5)), np.zeros((2, 5)), "2 models a side: give at least 3"),
        (np.zeros((3, 2)), np.full((3, 2), np.nan), "retrained of shape .* 6 NaN"),
    ],
)
def test_what_does_not_match_is_refused(unlearned, retrained, message):
    with pytest.raises(ValueError, match=message):
        matched_margins(unlearned, retrained, at_least=3)
