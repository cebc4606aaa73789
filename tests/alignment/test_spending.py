import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.alignment import alpha_spending


@pytest.mark.parametrize("steps", [1, 3, 20, 1000])
def test_a_known_number_of_steps_shares_alike_and_leaves_nothing(steps):
    shares = np.array(alpha_spending(steps)(jnp.arange(steps + 50)), np.float64)
    np.testing.assert_allclose(shares[:steps], 1 / steps, rtol=1e-6)
    assert not shares[steps:].any()
    assert shares.sum() == pytest.approx(1, rel=1e-6)


def test_an_unknown_number_of_steps_never_spends_all():
    share = alpha_spending()
    shares = np.array(share(jnp.arange(10_000)), np.float64)
    t = np.arange(10_000.0)
    np.testing.assert_allclose(shares, 1 / ((t + 1) * (t + 2)), rtol=1e-6)
    # What is left after T steps is 1 / (T + 1).
    np.testing.assert_allclose(1 - shares.cumsum()[[9, 99, 9999]], [1 / 11, 1 / 101, 1 / 10001],
                               rtol=2e-3)  # fmt: skip
    assert share(jnp.int32(2**31 - 1)) >= 0


@pytest.mark.parametrize("steps", [None, 25])
def test_a_whole_run_errs_at_most_at_the_level(binomial, steps):
    """Independent tests under the null: the union bound is nearly exact for small levels."""
    alpha, runs, length = 0.2, 20_000, 60
    levels = alpha * np.array(alpha_spending(steps)(jnp.arange(length)), np.float64)
    p_values = np.random.default_rng(0).random((runs, length))
    errs = (p_values <= levels).any(1)
    binomial(errs, 1 - np.prod(1 - levels))
    assert 0.5 * alpha < errs.mean() <= alpha
    assert (p_values <= alpha).any(1).mean() > 0.99, "what spending is there to prevent"


def test_steps_may_be_traced_and_python_numbers():
    for steps in (None, 5):
        share = alpha_spending(steps)
        for step in (0, 3, 7):
            assert float(jax.jit(share)(jnp.int32(step))) == float(share(step))
        assert share(jnp.int32(0)).dtype == jnp.float32


@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps_are_refused(steps):
    with pytest.raises(ValueError, match=rf"steps={steps}"):
        alpha_spending(steps)
