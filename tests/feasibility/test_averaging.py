import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.feasibility import Rule, coordinatewise, feasible_updates
from feasible_jax.feasibility.averaging import average_in, empty_average
from feasible_jax.feasibility.rule import Evidence, stateless


def batch(seed, count=8.0, shape=(3,)):
    rng = np.random.default_rng(seed)
    mean, variance = rng.normal(size=shape), rng.gamma(2.0, 1.0, shape)
    return Evidence((jnp.float32(mean),), (jnp.float32(variance),), jnp.float32(count))


def fold(batches, decay, shape=(3,)):
    seen, average = [], empty_average((jnp.zeros(shape),))
    for fresh in batches:
        evidence, average = average_in(average, fresh, decay)
        seen.append(evidence)
    return seen, average


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.99])
def test_is_the_weighted_sum_of_all_batches(decay):
    counts = np.array([8, 64, 2, 16, 8, 9, 100])
    batches = [batch(seed, count) for seed, count in enumerate(counts)]
    for t, evidence in enumerate(fold(batches, decay)[0]):
        weights = decay ** np.arange(t, -1.0, -1.0)
        weights[t] = 1
        for got, index in ((evidence.mean[0], 0), (evidence.variance[0], 1)):
            stack = np.array([b[index][0] for b in batches[: t + 1]], np.float64)
            np.testing.assert_allclose(got, weights @ stack / weights.sum(), rtol=2e-5, atol=1e-6)
        noise = np.sum(weights**2 / counts[: t + 1])
        np.testing.assert_allclose(evidence.count, weights.sum() ** 2 / noise, rtol=1e-5)


def test_the_count_grows_to_its_limit():
    seen, _ = fold([batch(0, 10.0)] * 200, 0.9)
    np.testing.assert_allclose(seen[-1].count, 10 * 1.9 / 0.1, rtol=1e-4)
    assert float(seen[0].count) == 10


def test_the_standard_error_is_that_of_the_averaged_mean():
    """Over 4,000 runs of 25 batches, the variance of the averaged mean is variance / count."""
    rng, runs, size, decay = np.random.default_rng(5), 4000, 12, 0.8
    average = empty_average((jnp.zeros(runs),))
    for _ in range(25):
        draws = 3.0 * rng.normal(size=(size, runs))
        mean, variance = jnp.float32(draws.mean(0)), jnp.float32(draws.var(0, ddof=1))
        evidence, average = average_in(average, Evidence((mean,), (variance,), float(size)), decay)
    promised = float(jnp.mean(evidence.variance[0]) / evidence.count)
    error = promised * np.sqrt(2 / runs)
    assert abs(np.var(evidence.mean[0]) - promised) < 4.5 * error
    assert promised < 0.2 * 9 / size, "far below that of a single batch"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda b: b._replace(mean=(b.mean[0].at[1].set(jnp.nan),)),
        lambda b: b._replace(mean=(b.mean[0].at[1].set(jnp.inf),)),
        lambda b: b._replace(variance=(b.variance[0].at[1].set(jnp.nan),)),
        lambda b: b._replace(variance=(jnp.full(3, jnp.inf),), count=jnp.float32(1)),
        lambda b: b._replace(count=jnp.float32(0)),
        lambda b: b._replace(count=jnp.float32(jnp.nan)),
        lambda b: b._replace(count=jnp.float32(jnp.inf)),
    ],
)
def test_an_unsound_batch_leaves_no_trace(spoil):
    batches = [batch(seed) for seed in range(6)]
    seen, average = fold([*batches[:3], spoil(batches[5]), *batches[3:]], 0.7)
    clean, want = fold(batches, 0.7)
    jax.tree.map(np.testing.assert_array_equal, average, want)
    jax.tree.map(np.testing.assert_array_equal, seen[4:], clean[3:])
    _, empty = fold([spoil(batches[5])], 0.7)
    jax.tree.map(np.testing.assert_array_equal, empty, empty_average((jnp.zeros(3),)))


def test_a_step_on_a_bad_batch_is_infeasible_and_the_next_one_recovers():
    tx = feasible_updates("retain", rule=coordinatewise(evidence_decay=0.9))
    updates, good = -jnp.ones(3), 1 + 0.1 * jnp.arange(8.0)[:, None] * jnp.ones((1, 3))
    state, update = tx.init(updates), jax.jit(tx.update)
    kept = []
    for retain in (good, good.at[2, 0].set(jnp.nan), jnp.full((8, 3), jnp.nan), good[:1], good):
        retain = jnp.broadcast_to(retain, (8, 3)) if retain.shape[0] > 1 else retain
        masked, state = update(updates, state, retain=retain)
        kept.append(float(state.kept))
        assert jnp.isfinite(masked).all()
    np.testing.assert_allclose(kept, [1, 2 / 3, 0, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(state.average["retain"].weight, 1.9)


def test_where_a_batch_is_not_finite_nothing_passes_and_elsewhere_those_before_decide():
    good = batch(0)
    bad = good._replace(mean=(good.mean[0].at[1].set(jnp.inf),))
    _, average = average_in(empty_average((jnp.zeros(3),)), good, 0.7)
    seen, after = average_in(average, bad, 0.7)
    assert np.isnan(seen.mean[0]).tolist() == [False, True, False]
    np.testing.assert_array_equal(seen.mean[0][::2], good.mean[0][::2])
    np.testing.assert_allclose(seen.count, good.count)
    assert jax.tree.all(jax.tree.map(np.array_equal, after, average))
    first, _ = average_in(empty_average((jnp.zeros(3),)), bad, 0.7)
    assert first.count == 0, "none before it"


def test_evidence_over_time_has_the_power_that_its_count_promises(binomial):
    """Through the public door, with updates that know nothing of the evidence: size alpha."""
    rng, fields = np.random.default_rng(0), 20_000
    tx = feasible_updates("retain", rule=coordinatewise(evidence_decay=0.9), test="normal")
    updates = jnp.asarray(rng.choice([-1.0, 1.0], fields), jnp.float32)
    null = better = None
    for shift in (0.0, 0.1):
        state, update = tx.init(updates), jax.jit(tx.update)
        kept = []
        for _ in range(30):
            noise = rng.normal(size=(64, fields)) - shift * np.asarray(updates)
            masked, state = update(updates, state, retain=jnp.float32(noise))
            kept.append(np.asarray(masked) != 0)
        null, better = (kept, better) if shift == 0 else (null, kept)
    binomial(null[-1], 0.05)
    assert np.mean(better[0]) < 0.25
    assert np.mean(better[-1]) > 0.9


@pytest.mark.parametrize("needs", ["mean", "nothing", "per_example"])
def test_only_moments_can_be_averaged(needs):
    rule = Rule("mine", needs, stateless, lambda proposal, state: (None, state), 0.5)
    with pytest.raises(ValueError, match=r"'mine'.*only moments"):
        feasible_updates("retain", rule=rule)


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5, np.nan])
def test_decays_out_of_range_are_refused(decay):
    with pytest.raises(ValueError, match=r"evidence_decay=.*\[0, 1\)"):
        coordinatewise(evidence_decay=decay)
