import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from feasible_jax.methods import hamu


def step_of(method, retain, forget):
    gradients = {
        "retain": jnp.asarray(retain, jnp.float32), "forget": jnp.asarray(forget, jnp.float32)
    }  # fmt: skip
    return -np.asarray(method.combine(gradients, {}, 0.0), np.float64)


def by_solver(retain, forget, gain, radius):
    return minimize(
        lambda d: retain @ d, 0.9 * radius * forget / np.linalg.norm(forget), jac=lambda d: retain,
        method="SLSQP", options={"ftol": 1e-10, "maxiter": 500},
        constraints=[
            {"type": "ineq", "fun": lambda d: forget @ d - gain, "jac": lambda d: forget},
            {"type": "ineq", "fun": lambda d: radius**2 - d @ d, "jac": lambda d: -2 * d},
        ],
    ).x  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_the_closed_form_is_what_a_solver_finds(seed, share):
    rng = np.random.default_rng(seed)
    retain, forget = rng.normal(size=(2, 5))
    retain *= 3
    radius = rng.uniform(0.1, 2)
    gain = share * radius * np.linalg.norm(forget)
    expected = by_solver(retain, forget, gain, radius)
    absolute = step_of(hamu(gain, radius, relative=False), retain, forget)
    np.testing.assert_allclose(absolute, expected, atol=1e-4)
    relative = step_of(hamu(share, radius), retain, forget)
    np.testing.assert_allclose(relative, absolute, atol=1e-5)


def test_one_step_by_hand(one_step, params, by_hand, lone_examples):
    step, _ = one_step(hamu(0.6, radius=None), params)
    g = {
        name: by_hand(params, [part[0] for part in examples])
        for name, examples in lone_examples.items()
    }
    retain, forget = (
        np.concatenate([g[side][name].ravel() for name in params]) for side in ("retain", "forget")
    )
    up = forget / np.linalg.norm(forget)
    across = retain - retain @ up * up
    assert -retain @ up < 0.6 * np.linalg.norm(retain), "descent alone does not forget enough"
    expected = np.linalg.norm(retain) * (0.6 * up - 0.8 * across / np.linalg.norm(across))
    found = -np.concatenate([step[name].ravel() for name in params])
    np.testing.assert_allclose(found, expected, atol=5e-6)


def test_where_no_step_forgets_enough_there_is_none(one_step, params):
    step, result = one_step(hamu(1e3, radius=0.1, relative=False), params)
    assert all((step[name] == 0).all() for name in params)
    assert result.history.abstained.tolist() == [True]
    assert not step_of(hamu(0.1, 1.0, relative=False), [1.0, 0.0], [0.0, 0.0]).any()


def test_where_descent_forgets_enough_it_is_taken():
    np.testing.assert_allclose(step_of(hamu(0.5, 2.0), [3.0, 0.0], [-1.0, 0.1]), [-2, 0], atol=1e-6)
    # Nothing to climb: no constraint.
    np.testing.assert_allclose(step_of(hamu(0.5, None), [3.0, 0.0], [0.0, 0.0]), [-3, 0], atol=1e-6)


def test_parallel_gradients_do_not_amplify_rounding():
    rng = np.random.default_rng(0)
    retain = rng.normal(size=1000)
    step = step_of(hamu(0.5, 1.0), retain, 7 * retain)
    np.testing.assert_allclose(step, 0.5 * retain / np.linalg.norm(retain), atol=1e-5)


def test_without_a_retain_gradient_the_shortest_step_forgets_enough():
    step = step_of(hamu(0.2, 1.0, relative=False), [0.0, 0.0], [0.0, 4.0])
    np.testing.assert_allclose(step, [0, 0.05], atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((1.5,), r"forget_gain=1.5: give a number in \[0, 1\]"),
        ((-0.1,), "forget_gain=-0.1"),
        ((-1.0, 1.0, False), r"\[0, inf\]"),
        ((0.5, 0.0), "radius=0.0"),
    ],
)
def test_values_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        hamu(*settings)
