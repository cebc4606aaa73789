import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.unlearning.rewind import forget_error

INPUTS = np.array([0.75, 1.25, 2.75, 3.25, 9.0], np.float32)
FORGET = fj.Examples(INPUTS, np.zeros(5, int))


def loss(b, example):
    """Every step lowers ``b`` by the learning rate."""
    return b + 0 * example.inputs


def predict(b, inputs):
    """Class 0 for inputs above ``-b``."""
    return jnp.stack([inputs + b, jnp.zeros_like(inputs)], axis=-1)


def run(wanted, steps=10, **kwargs):
    settings = {"predict_fn": predict, "forget": FORGET, "chunk_size": 2, **kwargs}
    return fj.unlearn(
        loss, jnp.float32(0), retain=FORGET, method=fj.methods.fine_tuning(), steps=steps,
        optimizer=optax.inject_hyperparams(optax.sgd)(0.5), batch_size=2, rewind_to=wanted,
        progress=False, **settings,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "steps"),
    # After 2, 4, ..., 10 steps the errors are 1/5, 2/5, 3/5, 4/5, 4/5.
    [(0, 2), (0.2, 2), (jnp.float32(0.33), 4), (np.float32(0.55), 6), (0.8, 10), (1.0, 10)],
)
def test_a_run_goes_back_to_the_look_nearest_to_the_error_wanted(wanted, steps):
    result = run(wanted)
    assert result.rewound_to == steps
    assert float(result.params) == -0.5 * steps
    assert int(result.opt_state.count) == steps
    assert result.history.losses["retain"].shape == (10,)
    assert result.stop is None


def test_the_last_chunk_is_looked_at_though_it_is_not_full():
    assert run(1.0, steps=7, chunk_size=3).rewound_to == 7


def test_a_run_that_was_stopped_is_rewound_too():
    result = run(0.4, on_chunk=lambda step, params: step == 6)
    assert result.stop is not None
    assert (result.stop.step, result.rewound_to) == (6, 4)


def test_without_it_the_last_parameters_are_kept():
    result = run(None, predict_fn=None)
    assert result.rewound_to is None
    assert float(result.params) == -5


def test_the_error_is_a_share_of_the_whole_set():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(601, 4)).astype(np.float32)
    labels = rng.integers(0, 4, 601)
    error = forget_error(lambda params, inputs: inputs, None, (logits, labels))
    assert error == np.mean(logits.argmax(-1) != labels)


@pytest.mark.parametrize("wanted", [-0.1, 1.5, float("nan"), "0.5"])
def test_what_is_no_share_is_refused(wanted):
    with pytest.raises(ValueError, match="rewind_to="):
        run(wanted)


def test_it_says_what_it_needs_to_measure_an_error():
    with pytest.raises(ValueError, match="pass predict_fn="):
        run(0.5, predict_fn=None)
    for forget in ({"x": INPUTS}, (INPUTS, INPUTS), (INPUTS, np.zeros((5, 2), int))):
        with pytest.raises(ValueError, match=r"pairs \(inputs, integer labels\)"):
            run(0.5, forget=forget)
