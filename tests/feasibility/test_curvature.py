import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from feasible_jax.feasibility import budget, coordinatewise, feasible_updates
from feasible_jax.moments import GradientMoments

RATE = 1e4  # of the loss h x^2 / 2 with h = 4: h / (h x)^2


def run(steps, *, noise=0.0, shrink=1.0, spoil=None, seed=0, rule=None, size=64):
    """Tiny steps downhill on a quadratic of a known rate; the rates in use, step by step.

    ``shrink`` is what a certificate leaves of each step, ``spoil`` changes the evidence of a step.
    """
    rng, h = np.random.default_rng(seed), 4.0
    x = jnp.full(20, 1 / np.sqrt(h * RATE), jnp.float32)
    rule = coordinatewise(curvature="adaptive") if rule is None else rule
    tx = feasible_updates("retain", rule=rule, confidence=0.6)
    state, update = tx.init(x), jax.jit(tx.update)
    rates = []
    for t in range(steps):
        gradient = h * x
        if noise:
            grads = np.asarray(gradient)[None] + noise * rng.normal(size=(size, 20)) * float(
                h * x[0]
            )
            mean, variance = grads.mean(0), jnp.float32(grads.var(0, ddof=1))
        else:
            mean, variance = gradient, jnp.zeros(20)
        moments = GradientMoments(jnp.float32(mean), variance, jnp.float32(size))
        moments = moments if spoil is None else spoil(t, moments)
        updates, state = update(-2e-4 * gradient, state, x, retain=moments)
        kept = shrink(t) if callable(shrink) else shrink
        x = x + kept * updates
        rates.append(float(state.rule_state.rate))
    return np.array(rates), state


def test_it_learns_the_rate_of_a_quadratic_from_exact_gradients():
    rates, state = run(12)
    assert rates[-1] == pytest.approx(RATE, rel=0.05)
    assert state.kept > 0
    assert abs(rates[0] - RATE) > 0.5 * RATE, "it did not know it before"


def test_a_step_that_was_shortened_after_it_is_seen_as_it_was_taken():
    for shrink in (0.5, 0.125, lambda t: [1.0, 0.25][t % 2]):
        assert run(12, shrink=shrink)[0][-1] == pytest.approx(RATE, rel=0.05)


def test_steps_that_were_not_taken_teach_nothing():
    rates, _ = run(12, shrink=0.0)
    assert len(set(rates)) == 1
    rates, _ = run(24, shrink=lambda t: float(t < 12))
    np.testing.assert_allclose(rates[13:], rates[13], rtol=1e-3)
    assert rates[-1] == pytest.approx(RATE, rel=0.05)


def test_evidence_that_is_not_finite_teaches_nothing():
    def spoil(t, moments):
        bad = (np.nan, np.inf)[t % 2]
        mean = moments.mean.at[3].set(bad) if t in (10, 13) else moments.mean
        variance = moments.variance.at[4].set(bad) if t in (16, 17) else moments.variance
        return moments._replace(mean=mean, variance=variance)

    rates, state = run(30, spoil=spoil)
    assert np.isfinite(rates).all()
    assert rates[-1] == pytest.approx(RATE, rel=0.05)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_noise_alone_is_no_curvature():
    """Noise ten times the size of the gradient: the rate is not the one that noise would feign.

    It stays about where it began, of which the rate that exact gradients show is ten times as much.
    """
    for seed in range(4):
        rates, _ = run(60, noise=10.0, seed=seed)
        assert np.all((rates > 0.5 * rates[0]) & (rates < 2 * rates[0])), seed


@pytest.mark.parametrize("rule", [coordinatewise(curvature="adaptive"), budget(evidence_decay=0.0)])
def test_large_gradients_do_not_stop_a_run_for_good(rule):
    """Of a loss in other units the first rate lets nothing pass; it falls until something does."""
    tx = optax.chain(optax.sgd(2e-4), feasible_updates("retain", rule=rule))
    w, scale = jnp.full(4, 5.0), 1e3
    state, update = tx.init(w), jax.jit(tx.update)
    kept, noise = [], 1 + 0.01 * jnp.linspace(-1, 1, 16)
    for _ in range(60):
        updates, state = update(scale * w, state, w, retain=scale * w[None] * noise[:, None])
        w = optax.apply_updates(w, updates)
        kept.append(float(state[-1].kept))
    assert kept[0] == 0
    assert max(kept) == 1
    assert jnp.abs(w).max() < 2


def test_what_is_learnt_is_not_forgotten_while_nothing_moves():
    rates, state = run(12)
    tx = feasible_updates("retain", rule=coordinatewise(curvature="adaptive"))
    params = state.rule_state.params
    moments = GradientMoments(0 * params + 1.0, 0 * params + 1.0, jnp.float32(64))
    for _ in range(5):
        _, state = tx.update(0 * params, state, params, retain=moments)
    assert float(state.rule_state.rate) == pytest.approx(rates[-1], rel=0.06)


def test_budget_learns_it_too():
    rates, _ = run(12, rule=budget(evidence_decay=0.0))
    assert rates[-1] == pytest.approx(RATE, rel=0.05)


def test_the_rate_learnt_is_the_rate_charged():
    """After learning, a coordinate passes iff its step is shorter than ``2 / (rate gradient)``."""
    _, state = run(12)
    tx = feasible_updates("retain", rule=coordinatewise(curvature="adaptive"))
    rate, ones = float(state.rule_state.rate), jnp.ones(20)
    lengths = np.geomspace(0.1, 10, 20) * 2 / rate
    moments = GradientMoments(ones, 0 * ones, jnp.float32(64))
    params = state.rule_state.params
    got, after = tx.update(jnp.float32(-lengths), state, params, retain=moments)
    np.testing.assert_array_equal(got != 0, lengths < 2 / float(after.rule_state.rate))
    assert 0 < after.kept < 1


@pytest.mark.parametrize("rule", [coordinatewise(curvature="adaptive"), budget()])
def test_it_needs_the_parameters(rule):
    tx = feasible_updates("retain", rule=rule)
    with pytest.raises(TypeError, match=r"curvature='adaptive'.*pass params"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), retain=jnp.ones((4, 2)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("rule", [coordinatewise(curvature="adaptive"), budget()])
def test_its_state_never_changes_type_and_needs_shapes_alone(rule, dtype):
    with jax.enable_x64(dtype == "float64"):
        tx = optax.chain(optax.sgd(0.1), feasible_updates("retain", rule=rule))
        params = {"w": jnp.ones(3, dtype), "none": None}
        state = tx.init(params)
        retain = {"w": jnp.ones((4, 3), dtype), "none": None}
        for _ in range(2):
            before = jax.eval_shape(lambda s=state: s)
            _, state = jax.jit(tx.update)(params, state, params, retain=retain)
            assert jax.eval_shape(lambda s=state: s) == before
        assert jax.eval_shape(lambda: tx.init(jax.eval_shape(lambda: params))) == before


def test_its_state_holds_no_buffer_of_the_parameters_which_may_be_donated():
    params = jnp.ones(3)
    for rule in (coordinatewise(curvature="adaptive"), budget()):
        state = feasible_updates("retain", rule=rule).init(params)
        assert not any(leaf is params for leaf in jax.tree.leaves(state))
