import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.methods import cf_k

EXAMPLES = fj.Examples(np.eye(4, dtype=np.float32)[:3] - 0.3, np.array([0, 1, 2]))
PARAMS = {
    "a_head": {"w": jnp.asarray(np.random.default_rng(2).normal(size=(5, 3)), jnp.float32)},
    "body": {"w": jnp.asarray(np.random.default_rng(1).normal(size=(4, 5)), jnp.float32)},
}


def loss(params, example):
    logits = jnp.tanh(example.inputs @ params["body"]["w"]) @ params["a_head"]["w"]
    return jax.nn.logsumexp(logits) - logits[example.labels]


def run(method, steps=3):
    return fj.unlearn(
        loss, PARAMS, forget=EXAMPLES, retain=EXAMPLES, method=method, steps=steps, batch_size=4,
        optimizer=optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9)),
        progress=False,
    ).params  # fmt: skip


@pytest.mark.parametrize(("layers", "trained"), [(1, ["a_head"]), (2, ["a_head", "body"]),
                                                 (("body",), ["body"])])  # fmt: skip
def test_what_is_not_among_the_last_layers_stays_exactly_as_it_is(layers, trained):
    after = run(cf_k(layers))
    for name in PARAMS:
        changed = np.asarray(after[name]["w"] != PARAMS[name]["w"])
        assert changed.all() if name in trained else not changed.any()


def test_one_step_is_one_of_fine_tuning(one_step, params, by_hand, lone_examples):
    gradient, result = one_step(cf_k(1), params)
    expected = by_hand(params, [part[0] for part in lone_examples["retain"]])
    for name in params:
        np.testing.assert_allclose(gradient[name], expected[name], atol=2e-6)
    assert list(result.history.losses) == ["retain"]


def test_more_layers_than_there_are_is_an_error_that_lists_them():
    with pytest.raises(ValueError, match="layers=3, but the model has 2: body, a_head"):
        run(cf_k(3))
