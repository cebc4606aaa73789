import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from feasible_jax.feasibility import coordinatewise, feasible_updates
from feasible_jax.feasibility.multiplicity import adjusted_level, expected_false
from feasible_jax.moments import GradientMoments

COUNT = 40.0


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("level", [0.05, 0.2])
def test_benjamini_hochberg_is_exact_but_for_the_grid(seed, level):
    """Between the exact procedure at the level and that at the level over the square root of 2."""
    rng = np.random.default_rng(seed)
    effects = rng.choice([0.0, 3.0], 500, p=[1 - seed / 12, seed / 12])
    p_values = scipy.stats.norm.sf(rng.normal(size=500) + effects)
    p_values = np.clip(p_values, 1e-12, 1)
    statistics = jnp.asarray(scipy.stats.norm.isf(p_values), jnp.float32)
    at = float(adjusted_level("benjamini_hochberg", [[statistics[:77], statistics[77:]]], "normal",
                              jnp.float32(level), [COUNT]))  # fmt: skip
    got = p_values <= at
    adjusted = scipy.stats.false_discovery_control(p_values)
    assert not np.any(got & (adjusted > level * (1 + 1e-5)))
    assert not np.any(~got & (adjusted <= level / np.sqrt(2) * (1 - 1e-5)))


def test_bonferroni_divides_by_the_number_of_tests():
    statistics = [jnp.array([1.0, jnp.nan, 2.0]), jnp.array([[-jnp.inf, jnp.inf]])]
    level = adjusted_level("bonferroni", [statistics], "student", jnp.float32(0.1), [COUNT])
    np.testing.assert_allclose(level, 0.1 / 4, rtol=1e-6)
    for name in ("none", "bonferroni"):
        nothing = [[jnp.full(3, jnp.nan)]]
        alone = adjusted_level(name, nothing, "student", jnp.float32(0.1), [COUNT])
        np.testing.assert_allclose(alone, 0.1, rtol=1e-6)


def moments_of(seed, runs, good, shift=4.0, size=16):
    """Moments of fields, some with progress and the others exactly at the boundary of harm."""
    rng = np.random.default_rng(seed)
    grads = rng.normal(size=(runs, size, len(good))) + shift / np.sqrt(size) * good
    return jnp.float32(grads.mean(1)), jnp.float32(grads.var(1, ddof=1))


def mixture(seed, runs, fields, share_good, size=16):
    good = np.arange(fields) < share_good * fields
    return *moments_of(seed, runs, good, size=size), good, size


def select(multiplicity, mean, variance, size, confidence=0.9):
    rule = coordinatewise(multiplicity=multiplicity)
    tx = feasible_updates("retain", rule=rule, confidence=confidence)

    @jax.jit
    @jax.vmap
    def one(mean, variance):
        updates = -jnp.ones_like(mean)
        moments = GradientMoments(mean, variance, jnp.float32(size))
        masked, state = tx.update(updates, tx.init(updates), retain=moments)
        return masked != 0, state.expected_false

    return map(np.asarray, one(mean, variance))


def test_the_error_that_each_promises_to_bound():
    runs, level = 2000, 0.1
    mean, variance, good, size = mixture(0, runs, 60, 0.3)
    allowed = level + 4.5 * np.sqrt(level * (1 - level) / runs)
    rates = {}
    for name in ("none", "bonferroni", "benjamini_hochberg"):
        keep, _ = select(name, mean, variance, size)
        false = (keep & ~good).sum(1)
        rates[name] = {
            "any": np.mean(false > 0),
            "share": np.mean(false / np.maximum(keep.sum(1), 1)),
            "power": keep[:, good].mean(),
        }
    assert rates["none"]["any"] > 0.9
    assert rates["bonferroni"]["any"] <= allowed
    assert rates["bonferroni"]["any"] > 0.3 * level, "bounded, not just empty"
    assert rates["benjamini_hochberg"]["share"] <= allowed * 0.7 + 0.01  # times the share of nulls
    assert rates["benjamini_hochberg"]["any"] > allowed, "it bounds a share, not any"
    power = [rates[n]["power"] for n in ("bonferroni", "benjamini_hochberg", "none")]
    assert power == sorted(power)
    assert power[1] > power[0] + 0.1


def test_a_coordinate_of_several_constraints_is_one_coordinate():
    """Where each constraint has many good ones, of which few are good for the other too."""
    runs, level, size, place = 1000, 0.1, 16, np.arange(80)
    good = {"retain": place < 42, "group": (place < 4) | (place >= 42)}
    worse = ~(good["retain"] & good["group"])
    given = [moments_of(seed, runs, these) for seed, these in enumerate(good.values())]
    rates = {}
    for name in ("none", "bonferroni", "benjamini_hochberg"):
        tx = feasible_updates(tuple(good), rule=coordinatewise(multiplicity=name), confidence=0.9)

        @jax.jit
        @jax.vmap
        def one(retain, group, tx=tx):
            updates = -jnp.ones_like(retain[0])
            retain, group = (GradientMoments(*m, jnp.float32(size)) for m in (retain, group))
            return tx.update(updates, tx.init(updates), retain=retain, group=group)[0] != 0

        keep = np.asarray(one(*given))
        false = (keep & worse).sum(1)
        rates[name] = np.mean(false > 0), np.mean(false / np.maximum(keep.sum(1), 1)), keep.mean()
    allowed = level + 4.5 * np.sqrt(level * (1 - level) / runs)
    assert rates["none"][1] > 2 * allowed
    assert rates["bonferroni"][0] <= allowed
    assert rates["benjamini_hochberg"][1] <= allowed
    assert rates["benjamini_hochberg"][2] > rates["bonferroni"][2] > 0.01, "and something passes"


def test_what_cannot_pass_one_constraint_counts_for_none():
    statistics = [[jnp.array([5.0, 5.0, jnp.nan])], [jnp.array([-5.0, 5.0, 5.0])]]
    level = adjusted_level("bonferroni", statistics, "normal", jnp.float32(0.1), [COUNT, COUNT])
    np.testing.assert_allclose(level, 0.1 / 3, rtol=1e-6)
    tx = feasible_updates(("a", "b"), rule=coordinatewise(), confidence=0.9)
    updates = -jnp.ones(2)
    sure = jnp.tile(jnp.array([[1.0, 1.0]]), (4, 1)) + 0.01 * jnp.arange(4.0)[:, None]
    spoilt = sure.at[0, 0].set(jnp.nan)
    _, state = tx.update(updates, tx.init(updates), a=sure, b=spoilt)
    assert (float(state.kept), float(state.expected_false)) == (0.5, 0)


@pytest.mark.parametrize("multiplicity", ["none", "benjamini_hochberg"])
def test_the_estimate_of_what_is_false_is_close(multiplicity):
    mean, variance, good, size = mixture(3, 40, 3000, 0.25)
    keep, estimate = select(multiplicity, mean, variance, size)
    false = (keep & ~good).sum(1)
    assert false.mean() > 20
    assert estimate.mean() == pytest.approx(false.mean(), rel=0.15)


def test_a_rule_without_an_estimate_says_so():
    from feasible_jax.feasibility import sign_agreement

    tx = feasible_updates("retain", rule=sign_agreement())
    _, state = tx.update(-jnp.ones(2), tx.init(jnp.ones(2)), retain=jnp.ones((4, 2)))
    assert state.expected_false == -1


def test_no_more_can_be_false_than_are_tested_or_kept():
    assert float(expected_false(jnp.float32(10), jnp.float32(10), jnp.float32(0.1))) == 1.0
    tx = feasible_updates("retain", confidence=0.6)
    updates = -jnp.ones(8)
    _, state = tx.update(updates, tx.init(updates), retain=-jnp.ones((4, 8)))
    assert (state.kept, state.expected_false) == (0, 0)


@pytest.mark.parametrize("name", ["bonferroni", "benjamini_hochberg"])
def test_what_cannot_pass_helps_no_other_to(name):
    """Infinite means, and certainties too small to square, would have infinite statistics."""
    fields = 400
    z = scipy.stats.norm.isf(np.linspace(0.004, 0.996, fields))
    mean, variance = jnp.float32(z), jnp.full(fields, 16.0)
    updates, size = -jnp.ones(fields), jnp.float32(16)
    tx = feasible_updates("retain", rule=coordinatewise(multiplicity=name), test="normal")
    update = jax.jit(tx.update)
    for odd, spread in ((jnp.inf, 16.0), (1e-30, 0.0), (1.0, jnp.nan)):
        moments = GradientMoments(mean.at[::2].set(odd), variance.at[::2].set(spread), size)
        masked, _ = update(updates, tx.init(updates), retain=moments)
        assert not jnp.any(masked), odd


def test_certain_coordinates_pass_whatever_the_others_do():
    noise = np.random.default_rng(0).normal(size=(8, 6)) - 0.5
    retain = jnp.float32(np.concatenate([noise, np.ones((8, 2)), np.zeros((8, 1))], 1))
    updates = -jnp.ones(9)
    for name in ("none", "bonferroni", "benjamini_hochberg"):
        tx = feasible_updates("retain", rule=coordinatewise(multiplicity=name), confidence=0.99)
        masked, _ = tx.update(updates, tx.init(updates), retain=retain)
        assert masked.tolist() == [0] * 6 + [-1] * 3, name


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"multiplicity='holm'.*'bonferroni'"):
        coordinatewise(multiplicity="holm")
