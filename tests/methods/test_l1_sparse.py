import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.methods import l1_sparse


def test_one_step_adds_the_signs_of_the_parameters(one_step, params, by_hand, lone_examples):
    gradient, _ = one_step(l1_sparse(alpha=0.25), params)
    retain = by_hand(params, [part[0] for part in lone_examples["retain"]])
    for name in params:
        expected = retain[name] + 0.25 * np.sign(params[name])
        np.testing.assert_allclose(gradient[name], expected, atol=2e-6)


def test_the_penalty_fades_linearly_over_the_run(lone_examples):
    """A loss that is flat leaves the penalty alone: w_T = w_0 - lr alpha sum_t (1 - t/T)."""
    steps, alpha = 4, 0.5
    result = fj.unlearn(
        lambda w, example: 0.0 * jnp.sum(w), jnp.array([10.0, -10.0]), **lone_examples,
        method=l1_sparse(alpha), optimizer=optax.sgd(1.0), steps=steps, batch_size=2,
        progress=False,
    )  # fmt: skip
    walked = alpha * sum(1 - t / steps for t in range(steps))
    np.testing.assert_allclose(result.params, [10 - walked, -10 + walked], rtol=1e-6)


def test_the_norm_of_low_precision_parameters_is_summed_in_float32():
    many = {"w": jnp.ones(4096, jnp.bfloat16), "b": jnp.ones(1, jnp.float32)}
    penalty = l1_sparse(alpha=1.0).penalty
    assert penalty is not None
    assert float(penalty(None, many, jnp.float32(0.0))) == 4097


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="alpha=-1"):
        l1_sparse(-1)
