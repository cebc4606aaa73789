import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from feasible_jax.feasibility import budget, feasible_updates
from feasible_jax.moments import GradientMoments

COUNT = 64.0


def problem(seed, shape, scale=0.1):
    """``(update, retain mean, retain variance, forget mean)``."""
    rng = np.random.default_rng(seed)
    draw = lambda: rng.normal(size=shape)  # noqa: E731
    return [np.float32(x) for x in (scale * draw(), draw(), rng.gamma(2.0, 1.0, shape) * 2, draw())]


def moments(mean, variance, count=COUNT):
    return GradientMoments(jnp.asarray(mean), jnp.asarray(variance), jnp.float32(count))


@functools.cache
def compiled(rho, tau, increase, confidence, **options):
    increase = "forget" if increase else ()
    rule = budget(rho, tau, 0.0)
    tx = feasible_updates("retain", increase, rule=rule, confidence=confidence, **options)
    return tx.init, jax.jit(tx.update)


def solve(update, mean, variance, forget=None, rho=None, tau=0.0, confidence=0.95, **options):
    """Which coordinates are kept, as booleans, and the state."""
    evidence = {"retain": moments(mean, variance, options.pop("count", COUNT))}
    if forget is not None:
        evidence["forget"] = moments(forget, np.ones_like(forget))
    init, step = compiled(rho, tau, forget is not None, confidence, **options)
    updates = jnp.asarray(update)
    masked, state = step(updates, init(updates), **evidence)
    assert bool(jnp.all((masked == updates) | (masked == 0)))
    return np.asarray(masked != 0), state


def bound(keep, update, mean, variance, rho=None, confidence=0.95, count=COUNT):
    """The upper confidence bound of what is kept, in float64, for one mask or many."""
    keep, u, m, v = (np.asarray(x, np.float64) for x in (keep, update, mean, variance))
    keep = keep.reshape(-1, u.size)
    u, m, v = u.ravel(), m.ravel(), v.ravel()
    price = m * u + 0.5 * (rho or 0.0) * u * u * (m * m + v)
    critical = scipy.stats.t.ppf(confidence, count - 1)
    return keep @ price + critical * np.sqrt(keep @ (u * u * v) / count)


@pytest.mark.parametrize("shape", [(9,), (40, 25), (700, 400)])
@pytest.mark.parametrize(("rho", "tau"), [(None, 0.0), (5.0, 0.0), (5.0, 0.1)])
def test_the_budget_is_met_and_used(shape, rho, tau):
    update, mean, variance, forget = problem(1, shape)
    keep, state = solve(update, mean, variance, forget, rho, tau)
    spent = float(bound(keep, update, mean, variance, rho)[0])
    tolerance = 1e-5 * float(np.sum(np.abs(mean * update)))
    assert spent <= tau + tolerance
    assert float(state.kept) == pytest.approx(keep.mean(), rel=1e-5)
    assert 0 < keep.mean() < 1
    assert np.sum((forget * update)[keep]) > 0
    if keep.size > 100:  # many small items fill a knapsack to the brim
        one = np.abs(mean * update) + 0.5 * (rho or 0) * update**2 * (mean**2 + variance)
        assert spent > tau - max(2 * one.max(), 0.02 * one.sum())


def test_it_comes_near_the_best_mask_of_all():
    """Against all 4,096 masks of 12 coordinates; the relaxation is no exact solver."""
    masks = np.array(list(itertools.product([False, True], repeat=12)))
    shares = []
    for seed in range(40):
        update, mean, variance, forget = problem(seed, (12,))
        rho, tau = (None, 3.0)[seed % 2], (0.0, 0.05)[seed // 2 % 2]
        keep, _ = solve(update, mean, variance, forget, rho, tau)
        assert bound(keep, update, mean, variance, rho)[0] <= tau + 1e-6
        progress = masks @ (forget * update)
        best = progress[bound(masks, update, mean, variance, rho) <= tau].max()
        got = float(np.sum((forget * update)[keep]))
        assert 0 <= got <= best + 1e-6
        shares.append(got / max(best, 1e-9))
    assert np.mean(shares) > 0.8
    assert np.median(shares) > 0.95


def best_multiplier(update, mean, variance, forget, rho):
    """What the best multiplier of a fine grid buys, in float64."""
    u, m, v, f = (np.asarray(x, np.float64).ravel() for x in (update, mean, variance, forget))
    price, noise = m * u + 0.5 * rho * u * u * (m * m + v), u * u * v
    critical = scipy.stats.t.ppf(0.95, COUNT - 1) / np.sqrt(COUNT)
    cost = price + critical / (2 * np.sqrt(noise[price < 0].sum())) * noise
    best = 0.0
    for multiplier in np.geomspace(1e-4, 1e4, 300):
        keep = f * u > multiplier * cost
        if price[keep].sum() + critical * np.sqrt(noise[keep].sum()) <= 0:
            best = max(best, float((f * u)[keep].sum()))
    return best


@pytest.mark.parametrize("shape", [(4096, 64), (3000, 90), (70_000,)])
def test_a_sample_of_many_coordinates_finds_the_multiplier(shape):
    """Also where every 16th coordinate, as many columns, is like no other."""
    update, mean, variance, forget = problem(0, shape, scale=0.01)
    mean *= 0.1
    if len(shape) > 1:
        forget[:, ::16] = 0
        update[:, ::16] *= 1e-3
    keep, _ = solve(update, mean, variance, forget, 300.0)
    assert bound(keep, update, mean, variance, 300.0)[0] <= 1e-4
    got = float(np.sum((forget * update)[keep]))
    assert got > 0.95 * best_multiplier(update, mean, variance, forget, 300.0)


def test_without_a_forget_objective_the_update_itself_is_the_progress():
    update, mean, variance, _ = problem(4, (500,))
    keep, _ = solve(update, mean, variance)
    assert bound(keep, update, mean, variance)[0] <= 1e-5
    alone = -mean * np.sign(update) > scipy.stats.t.ppf(0.95, 63) * np.sqrt(variance / COUNT)
    kept = np.sum(update[keep] ** 2)
    assert kept > 1.5 * np.sum(update[alone] ** 2), "one bound on a sum lets more pass"


def test_what_fits_whole_is_kept_whole():
    update, mean, variance, _ = problem(5, (30,))
    keep, _ = solve(update, mean, variance, tau=1e6)
    assert keep.all()
    keep, _ = solve(update, -np.sign(update) * 3, variance)
    assert keep.all()


def test_where_nothing_fits_nothing_is_kept():
    update, _, variance, forget = problem(6, (30,))
    harmful = np.sign(update)
    for f in (None, forget):
        keep, state = solve(update, harmful, variance, f)
        assert not keep.any()
        assert state.kept == 0
    weak = -1e-3 * np.sign(update)  # the right way, and lost in noise
    assert not solve(update, weak, variance)[0].any()


def test_to_keep_nothing_is_better_than_to_lose_progress():
    update = np.float32([-0.1, -0.1])
    keep, _ = solve(update, np.float32([1, -1]), np.float32([0.01, 0.01]), np.float32([1, 0.01]))
    # Together they fit and would lower the forget loss; the second alone would not fit.
    assert not keep.any()


def test_every_objective_that_must_decrease_has_a_budget():
    update, one, variance, forget = problem(7, (300,))
    other = problem(8, (300,))[1]
    tx = feasible_updates(("a", "b"), "forget", rule=budget(2.0, 0.02, 0.0))
    updates = jnp.asarray(update)
    masked, _ = jax.jit(tx.update)(
        updates, tx.init(updates), a=moments(one, variance), b=moments(other, variance),
        forget=moments(forget, variance),
    )  # fmt: skip
    keep = np.asarray(masked != 0)
    for mean in (one, other):
        assert bound(keep, update, mean, variance, 2.0)[0] <= 0.02 + 1e-5
    assert np.sum((forget * update)[keep]) > 0
    alone, _ = solve(update, one, variance, forget, 2.0, 0.02)
    assert bound(alone, update, other, variance, 2.0)[0] > 0.02, "the other one binds"


def test_a_coordinate_of_bad_evidence_takes_no_other_along():
    update, mean, variance, forget = problem(9, (200,))
    want, _ = solve(update, mean, variance, forget)
    for i, bad in itertools.product(range(4), (np.nan, np.inf, -np.inf)):
        spoilt = [x.copy() for x in (update, mean, variance, forget)]
        spoilt[i][0] = bad
        evidence = moments(*spoilt[1:3]), moments(spoilt[3], np.ones_like(forget))
        init, step = compiled(None, 0.0, True, 0.95)
        updates = jnp.asarray(spoilt[0])
        masked, _ = step(updates, init(updates), retain=evidence[0], forget=evidence[1])
        assert masked[0] == 0, (i, bad)
        assert np.mean(np.asarray(masked[1:] != 0) == want[1:]) > 0.9, (i, bad)


@pytest.mark.parametrize("count", [0.0, 1.0, np.nan, np.inf])
@pytest.mark.parametrize("test", ["student", "normal"])
def test_no_two_observations_let_nothing_pass(count, test):
    update, *_ = problem(10, (20,))
    for certain in (-np.sign(update), np.zeros(20, np.float32)):
        keep, _ = solve(update, certain, np.zeros(20, np.float32), count=count, test=test)
        assert not keep.any()
    assert solve(update, certain, np.zeros(20, np.float32))[0].all()


def test_an_objective_to_spend_on_is_needed():
    tx = feasible_updates(increase="forget", rule=budget(None, evidence_decay=0.0))
    with pytest.raises(ValueError, match=r"budget\(\) has nothing to spend.*decrease"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), forget=jnp.ones((4, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": -0.1}, r"tau=-0\.1"),
        ({"tau": np.nan}, "tau=nan"),
        ({"curvature": -1.0}, r"curvature=-1\.0"),
        ({"evidence_decay": 1.0}, r"evidence_decay=1\.0"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        budget(**options)
