import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.methods import Problem
from feasible_jax.methods.logits import logits_of


def test_the_model_sees_a_batch_of_one(predict, params):
    shapes = []

    def watched(params, inputs):
        shapes.append(inputs.shape)
        return predict(params, inputs)

    logits = logits_of(Problem(None, watched, None), params, jnp.ones(4))  # type: ignore[arg-type]
    assert shapes == [(1, 4)]
    np.testing.assert_allclose(logits, params["w"].sum(0) + params["b"], rtol=1e-6)


def test_a_missing_predict_fn_is_named():
    with pytest.raises(ValueError, match="predict_fn="):
        logits_of(Problem(None, None, None), None, jnp.ones(4))  # type: ignore[arg-type]


def test_a_predict_fn_without_logits_is_refused():
    with pytest.raises(ValueError, match=r"returned shape \(1,\)"):
        logits_of(Problem(None, lambda p, x: x.sum(-1), None), None, jnp.ones(4))  # type: ignore[arg-type]
