import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from feasible_jax.feasibility import feasible_updates, projection
from feasible_jax.moments import GradientMoments


def sample(seed, fields=200, size=16, lead=0.3):
    """An update that does harm, and noisy evidence of it."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=fields)
    update = {"a": rng.normal(size=50) + lead * truth[:50], "b": lead * truth[50:]}
    retain = truth + rng.normal(size=(size, fields))
    wide = {"a": retain[:, :50], "b": retain[:, 50:]}
    to = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)  # noqa: E731
    return to(update), to(wide)


def flat(tree):
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]).astype(np.float64)


def stacked(retain):
    return np.concatenate([np.asarray(retain["a"]), np.asarray(retain["b"])], 1).astype(np.float64)


def project(update, noise_aware=True, confidence=0.95, decrease="retain", increase=(), **evidence):
    tx = feasible_updates(decrease, increase, rule=projection(noise_aware), confidence=confidence)
    return jax.jit(tx.update)(update, tx.init(update), **evidence)


@pytest.mark.parametrize("increase", [False, True])
def test_without_noise_it_is_a_gem(increase):
    update, retain = sample(0)
    if increase:
        update = jax.tree.map(jnp.negative, update)
        got, state = project(update, False, decrease=(), increase="retain", retain=retain)
    else:
        got, state = project(update, False, retain=retain)
    u, g = flat(update), stacked(retain).mean(0)
    np.testing.assert_allclose(flat(got), u - g * (g @ u) / (g @ g), rtol=1e-3, atol=1e-4)
    assert abs(flat(got) @ g) < 1e-3 * np.linalg.norm(u) * np.linalg.norm(g)
    assert state.kept == 1
    assert state.pass_rate["retain"] == 0


def test_what_does_no_harm_is_left_as_it_is():
    update, retain = sample(1)
    good = jax.tree.map(jnp.negative, update)
    for noise_aware in (False, True):
        got, state = project(good, noise_aware, retain=retain)
        jax.tree.map(np.testing.assert_array_equal, got, good)
        assert state.pass_rate["retain"] == 1


def test_float64_updates_that_do_no_harm_are_not_rounded():
    with jax.enable_x64(True):
        update = {"a": jnp.full(3, -1 / 3, jnp.float64)}
        retain = {"a": jnp.ones((4, 3), jnp.float64)}
        jax.tree.map(np.testing.assert_array_equal, project(update, retain=retain)[0], update)


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_holds_after_the_projection(seed):
    update, retain = sample(seed)
    got, _ = project(update, retain=retain)
    grads, u, after = stacked(retain), flat(update), flat(got)
    mean, variance = grads.mean(0), grads.var(0, ddof=1) / 16
    critical = scipy.stats.t.ppf(0.95, 15)
    harm = mean @ u + critical * np.sqrt(variance @ u**2)
    want = u - mean * harm / (mean @ mean - variance.sum())
    np.testing.assert_allclose(after, want, rtol=2e-3, atol=1e-4)
    assert mean @ after + critical * np.sqrt(variance @ after**2) <= 0
    plain = flat(project(update, False, retain=retain)[0])
    assert mean @ plain + critical * np.sqrt(variance @ plain**2) > 0, "A-GEM's does not"


def test_where_noise_is_all_nothing_passes():
    """An unbiased squared length that is negative: nothing to project on."""
    rng = np.random.default_rng(0)
    retain = rng.normal(size=(8, 400))
    retain -= retain.mean(0) * 0.5
    update = jnp.float32(retain.mean(0))
    got, state = project(update, retain=jnp.float32(retain))
    assert not jnp.any(got)
    assert state.kept == 0
    assert jnp.any(project(update, False, retain=jnp.float32(retain))[0])


def test_constraints_are_taken_one_after_another():
    up, right = jnp.tile(jnp.array([0.0, 1.0]), (4, 1)), jnp.tile(jnp.array([1.0, 0.0]), (4, 1))
    update = jnp.array([1.0, 1.0])
    got, state = project(update, decrease=("up", "right"), up=up, right=right)
    np.testing.assert_allclose(got, [0, 0], atol=1e-6)
    got, state = project(update, decrease="up", increase="right", up=up, right=right)
    np.testing.assert_allclose(got, [1, 0], atol=1e-6)
    assert (state.pass_rate["up"], state.pass_rate["right"]) == (0, 1)


def test_a_neutral_batch_and_one_example():
    update, zeros = jnp.ones(3), jnp.zeros((5, 3))
    assert project(update, retain=zeros)[0].tolist() == [1, 1, 1]
    assert project(update, retain=jnp.ones((1, 3)))[0].tolist() == [0, 0, 0]


def test_narrow_updates_keep_their_dtype():
    update = jnp.ones(2, jnp.bfloat16)
    moments = GradientMoments(jnp.bfloat16([1, 0]), jnp.zeros(2, jnp.bfloat16), 8.0)
    got, _ = project(update, retain=moments)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.astype(jnp.float32), [0, 1], atol=1e-6)


@pytest.mark.parametrize("noise_aware", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_coordinate_of_bad_evidence_stops_the_whole_projection(noise_aware, bad):
    """It is a sum: also where it seems to say that no harm is done."""
    for mean in (jnp.float32([bad, 1.0]), jnp.float32([1.0, bad])):
        moments = GradientMoments(mean, jnp.ones(2), jnp.float32(8))
        assert not jnp.any(project(jnp.ones(2), noise_aware, retain=moments)[0])
