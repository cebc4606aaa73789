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


def priced_sample(seed, size=16, fields=600):
    """An update and evidence of two sets; many coordinates fail for their curvature alone."""
    rng = np.random.default_rng(seed)
    update = rng.normal(size=fields) * 10.0 ** rng.uniform(-3, 0, fields)
    a, b = (rng.normal(size=fields) + rng.normal(size=(size, fields)) for _ in range(2))
    a[:, :20] = 0
    return tuple(jnp.asarray(x, jnp.float32) for x in (update, a, b))


def by_formula(update, grads, sign, rho, critical):
    """``(progress, price, noise)`` per unit of movement, as METHOD.md has them, in float64."""
    update, grads = np.asarray(update, np.float64), np.asarray(grads, np.float64)
    mean, variance = grads.mean(0), grads.var(0, ddof=1)
    price = 0.5 * rho * np.abs(update) * (mean**2 + variance) if sign > 0 else 0 * mean
    return -sign * np.sign(update) * mean, price, critical * np.sqrt(variance / len(grads))


@pytest.mark.parametrize("rho", [0, 0.0, 0.3, 3.0, np.float32(3), 1000])
def test_a_curvature_price_equals_the_formula(rho):
    update, a, b = priced_sample(0)
    tx = feasible_updates("a", "b", confidence=0.8, rule=coordinatewise(curvature=rho))
    masked, state = jax.jit(tx.update)(update, tx.init(update), a=a, b=b)
    critical = scipy.stats.t.ppf(0.8, 15)
    want = np.ones(len(update), bool)
    near = ~want
    for name, grads, sign in (("a", a, 1), ("b", b, -1)):
        progress, price, noise = by_formula(update, grads, sign, float(rho), critical)
        passes = progress - price - noise >= 0
        near |= np.abs(progress - price - noise) < 1e-4
        want &= passes
        assert float(state.pass_rate[name]) == pytest.approx(passes.mean(), abs=0.01)
    np.testing.assert_array_equal((np.asarray(masked) != 0)[~near], want[~near])
    assert near.mean() < 0.1
    if rho > 1:
        plain = feasible_updates("a", "b", confidence=0.8)
        _, free = plain.update(update, plain.init(update), a=a, b=b)
        assert float(state.kept) < float(free.kept) - 0.02


def test_a_price_makes_the_step_size_matter():
    update, a, _ = priced_sample(1)
    kept = []
    for scale in (1e-3, 1.0, 1e6):
        tx = feasible_updates("a", rule=coordinatewise(curvature=1.0), confidence=0.6)
        kept.append(float(tx.update(scale * update, tx.init(update), a=a)[1].kept))
    assert kept[0] > kept[1] > kept[2]
    assert kept[2] == pytest.approx(20 / 600, abs=0.02), "neutral coordinates cost nothing"


@pytest.mark.parametrize("rho", [None, 0.3, 3.0])
def test_soft_parts_follow_the_formula(rho):
    update, a, b = priced_sample(2)
    rule = coordinatewise(curvature=rho, soft=True)
    tx = feasible_updates("a", "b", rule=rule, confidence=0.8)
    masked, state = jax.jit(tx.update)(update, tx.init(update), a=a, b=b)
    parts = np.asarray(masked, np.float64) / np.asarray(update)
    assert np.all((parts >= 0) & (parts <= 1 + 1e-6))
    want = np.ones(len(update))
    for grads, sign in ((a, 1), (b, -1)):
        progress, price, noise = by_formula(
            update, grads, sign, rho or 0.0, scipy.stats.t.ppf(0.8, 15)
        )
        with np.errstate(all="ignore"):
            part = (progress - noise) / np.where(price > 0, 2 * price, progress)
        part = np.clip(part, 0, 1) * (progress - noise >= 0)
        want = np.minimum(want, np.where((progress == 0) & (noise == 0), 1, part))
    np.testing.assert_allclose(parts, want, atol=2e-3)
    assert float(state.kept) == pytest.approx(want.mean(), abs=2e-3)
    hard = feasible_updates("a", "b", rule=coordinatewise(), confidence=0.8)
    whole, _ = hard.update(update, hard.init(update), a=a, b=b)
    np.testing.assert_array_equal(masked != 0, whole != 0, "the price shortens, it drops nothing")


def test_the_price_alone_decides_how_far_a_large_step_goes():
    """Ten times the learning rate, the same step: the price does the braking."""
    update, a, _ = priced_sample(4)
    tx = feasible_updates("a", rule=coordinatewise(curvature=3.0, soft=True), confidence=0.8)
    long, longer = (
        np.asarray(tx.update(scale * update, tx.init(update), a=a)[0]) for scale in (1e4, 1e5)
    )
    braked = np.any(np.asarray(a) != 0, axis=0)
    np.testing.assert_allclose(longer[braked], long[braked], rtol=1e-4)
    assert np.any(long[braked] != 0)


def test_soft_is_nothing_at_the_boundary_and_all_when_certain():
    critical = float(scipy.stats.norm.ppf(0.9))
    means = jnp.float32([critical + 1e-3, 2 * critical, 1e6, 1.0, 0.0])
    moments = GradientMoments(means, jnp.float32([16, 16, 16, 0, 0]), jnp.float32(16))
    tx = feasible_updates("a", rule=coordinatewise(soft=True), confidence=0.9, test="normal")
    masked, _ = tx.update(-jnp.ones(5), tx.init(jnp.ones(5)), a=moments)
    np.testing.assert_allclose(masked, [0, -0.5, -1, -1, -1], atol=1e-3)


def test_soft_keeps_all_of_what_passes_although_it_looks_bad():
    """A confidence below one half asks for no progress: no part of it is missing."""
    moments = GradientMoments(jnp.float32([-0.1, 0.0]), jnp.ones(2), jnp.float32(16))
    tx = feasible_updates("a", rule=coordinatewise(soft=True), confidence=0.1)
    masked, _ = tx.update(-jnp.ones(2), tx.init(jnp.ones(2)), a=moments)
    assert masked.tolist() == [-1, -1]


def test_narrow_moments_of_ones_own_are_widened():
    narrow = GradientMoments(jnp.bfloat16([1.0, -1.0]), jnp.bfloat16([1.0, 1.0]), 16.0)
    updates = jnp.bfloat16([-1.0, -1.0])
    for rule in (coordinatewise(), coordinatewise(curvature=0.1, soft=True, evidence_decay=0.5)):
        tx = feasible_updates("a", rule=rule)
        masked, _ = tx.update(updates, tx.init(updates), a=narrow)
        assert masked.dtype == jnp.bfloat16
        assert [bool(u != 0) for u in masked] == [True, False]


@pytest.mark.parametrize("curvature", [-1.0, np.nan, "adaptiv", "10"])
def test_what_is_no_curvature_is_refused(curvature):
    with pytest.raises(ValueError, match=r"curvature=.*'adaptive'"):
        coordinatewise(curvature=curvature)


def test_tables_tell_rules_apart():
    names = [
        coordinatewise(**options).name
        for options in ({}, {"curvature": 10.0}, {"soft": True}, {"multiplicity": "bonferroni"})
    ]
    assert names[0] == "coordinatewise"
    assert len(set(names)) == 4
