import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import HealthCheck, given, settings

from feasible_jax.feasibility import coordinatewise, feasible_updates
from feasible_jax.moments import GradientMoments

FIELDS = 150
fresh = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def brute_force(update, evidence, signs, confidence, test):
    """One coordinate after the other, in float64, by the formula of the docstring; NaN at ties."""
    keep = np.ones(len(update))
    for grads, sign in zip(evidence, signs, strict=True):
        size = len(grads)
        law = scipy.stats.t(size - 1) if test == "student" else scipy.stats.norm()
        critical = law.ppf(confidence)
        for i, delta in enumerate(update):
            column = grads[:, i].astype(np.float64)
            mean = np.sum(column) / size
            variance = np.sum((column - mean) ** 2) / (size - 1)
            if mean == 0 and variance == 0:
                continue
            if variance == 0:
                keep[i] *= -sign * np.sign(delta) * mean > 0
                continue
            statistic = -sign * np.sign(delta) * mean / np.sqrt(variance / size)
            if abs(statistic - critical) < 1e-3 * (1 + abs(critical)):
                keep[i] = np.nan
            keep[i] *= statistic >= critical
    return keep


UPDATE = {
    test: jax.jit(
        lambda update, a, b, confidence, test=test: feasible_updates(
            "a", "b", confidence=lambda step: confidence, rule=coordinatewise(), test=test
        ).update(update, feasible_updates("a", "b").init(update), a=a, b=b)
    )
    for test in ("student", "normal")
}


@pytest.mark.parametrize("test", ["student", "normal"])
@fresh
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([2, 3, 16]),
    confidence=st.floats(0.02, 0.999),
    exponent=st.integers(-15, 15),
)
def test_equals_brute_force(test, seed, size, confidence, exponent):
    rng = np.random.default_rng(seed)
    update = rng.normal(size=FIELDS).astype(np.float32)
    shift = rng.normal(size=(2, FIELDS)) * rng.choice([0, 1, 10], (2, FIELDS))
    a, b = (
        (10.0**exponent * (s + rng.normal(size=(size, FIELDS)))).astype(np.float32) for s in shift
    )
    a[:, :15] = 0  # never touched by the first set
    b[:, 10:25] = 0
    want = brute_force(update, (a, b), (1, -1), np.float64(np.float32(confidence)), test)
    kept, state = UPDATE[test](update, a, b, np.float32(confidence))
    decided = ~np.isnan(want)
    assert np.mean(decided) > 0.9
    np.testing.assert_array_equal(np.asarray(kept)[decided] != 0, want[decided] == 1)
    assert abs(float(state.kept) - np.nanmean(want)) < 0.1


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize("size", [8, 64])
def test_at_the_boundary_a_harmful_coordinate_passes_one_time_in_twenty(size, confidence):
    """Through the public door: the true gradient is 0, updates know nothing of the batch."""
    rng = np.random.default_rng(size)
    trials = 20_000
    updates = jnp.asarray(rng.choice([-1.0, 1.0], trials), jnp.float32)
    tx = feasible_updates("retain", confidence=confidence)
    noise = jnp.asarray(rng.normal(size=(size, trials)), jnp.float32)
    _, state = tx.update(updates, tx.init(updates), retain=noise)
    error = np.sqrt(confidence * (1 - confidence) / trials)
    assert abs(float(state.kept) - (1 - confidence)) < 4.5 * error
    # Were the update chosen on the very batch that tests it, the size would be twice that.
    chosen = -jnp.sign(noise.mean(0))
    _, state = tx.update(chosen, tx.init(chosen), retain=noise)
    assert abs(float(state.kept) - 2 * (1 - confidence)) < 4.5 * np.sqrt(2) * error


def test_every_constraint_has_a_count_of_its_own():
    updates = -jnp.ones(1)
    tx = feasible_updates(("few", "many"), confidence=0.95)
    moments = GradientMoments(jnp.ones(1), jnp.array([1.0]), 4.0)  # t = 2, below t_3 = 2.35
    _, state = tx.update(updates, tx.init(updates), few=moments, many=moments._replace(count=64.0))
    assert float(state.pass_rate["few"]) == 0
    assert float(state.pass_rate["many"]) == 1
    assert float(state.kept) == 0


def test_a_coordinate_of_bad_evidence_takes_no_other_along():
    updates = -jnp.ones(3)
    tx = feasible_updates("retain")
    retain = jnp.ones((5, 3)).at[2, 1].set(jnp.nan)
    kept, _ = tx.update(updates, tx.init(updates), retain=retain)
    assert kept.tolist() == [-1, 0, -1]
