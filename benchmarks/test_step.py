"""What a step costs: the plain method, the sign mask and the feasible update, side by side.

    pip install -e '.[test,bench]'
    python -m pytest benchmarks/test_step.py --benchmark-group-by=param:model

One jitted NegGrad+ step on a batch of 64 from each set. Quote ratios within one run, not times.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.experiments import make_feasibility, make_method
from feasible_jax.methods import Problem
from feasible_jax.models import build_model, cross_entropy
from feasible_jax.unlearning.step import (
    Fixed,
    first_state,
    make_limits,
    make_step,
    merged_requirements,
)

SHAPES = {"mlp": (8, 8, 1), "cnn": (28, 28, 1)}


@pytest.mark.parametrize("model", SHAPES)
@pytest.mark.parametrize("arm", ["plain", "sign_mask", "feasible"])
def test_step(benchmark, model, arm):
    shape = SHAPES[model]
    network = build_model(model, shape, 10)
    rng = np.random.default_rng(0)
    examples = fj.Examples(
        jnp.asarray(rng.normal(size=(1000, *shape)), jnp.float32),
        jnp.asarray(rng.integers(0, 10, 1000), jnp.int32),
    )
    params = network.init(jax.random.key(0))
    parts = [optax.sgd(0.01), make_feasibility(arm)]
    tx = optax.with_extra_args_support(optax.chain(*[part for part in parts if part is not None]))
    opt_state = jax.tree.map(jnp.asarray, tx.init(params))
    state = first_state(params, opt_state, jax.random.key(1))
    step = jax.jit(
        make_step(
            Problem(cross_entropy(network), network.apply, None),
            make_method("neg_grad_plus", 10),
            tx,
            merged_requirements(opt_state),
            batch_size=64,
            strategy="auto",
        )
    )
    args = (state, {"forget": examples, "retain": examples}, Fixed(params), make_limits(100))
    after, record = benchmark(lambda: jax.block_until_ready(step(*args)))
    assert bool(record.alive)
    assert int(after.step) == 1
