"""Masks that gather evidence before they let anything pass."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.moments import GradientMoments

AVERAGING = [
    fj.coordinatewise(curvature=1.0, evidence_decay=0.9),
    fj.coordinatewise(soft=True, evidence_decay=0.9),
    fj.budget(curvature=1.0),
    fj.projection(evidence_decay=0.9),
]


def moments(mean):
    return GradientMoments(jnp.float32(mean), 0.1 * jnp.ones(len(mean)), jnp.float32(64))


@pytest.mark.parametrize("rule", AVERAGING)
def test_nothing_passes_before_and_all_evidence_counts_after(rule):
    """What it decides after is what it would have decided with the same evidence all along."""
    updates, rng = jnp.array([-0.1, 0.1, -0.1]), np.random.default_rng(0)
    batches = [moments(rng.normal([1.0, 0.2, 0.1], 0.3)) for _ in range(6)]
    tx, always = (fj.feasible_updates("retain", rule=rule, warmup_steps=n) for n in (4, 0))
    state, other = tx.init(updates), always.init(updates)
    update = jax.jit(tx.update)
    for t, batch in enumerate(batches):
        masked, state = update(updates, state, updates, retain=batch)
        expected, other = always.update(updates, other, updates, retain=batch)
        if t < 4:
            assert not masked.any()
            assert state.kept == 0
            assert state.kept_per_leaf == 0
            assert other.kept > 0, "it would have let something pass"
        else:
            np.testing.assert_allclose(masked, expected, rtol=1e-6)
            assert state.kept > 0


def test_a_coordinate_no_early_example_depends_on_is_not_moved():
    """The first batch holds no example that the second coordinate matters to; the third does."""
    rule = fj.coordinatewise(curvature=1.0, evidence_decay=0.9)
    batches = [[1.0, 0.0], [1.0, 0.0], [1.0, -1.0], [1.0, -1.0]]
    batches = [GradientMoments(jnp.float32(m), jnp.float32(np.abs(m)), 64.0) for m in batches]
    moved = {}
    for warmup in (0, 3):
        tx = fj.feasible_updates("retain", rule=rule, warmup_steps=warmup)
        params = jnp.zeros(2)
        state = tx.init(params)
        for batch in batches:
            updates, state = tx.update(jnp.array([-0.1, -0.1]), state, params, retain=batch)
            params = optax.apply_updates(params, updates)
        moved[warmup] = params
    assert moved[0][1] != 0
    assert moved[3][1] == 0
    assert moved[3][0] != 0


def test_an_adaptive_price_does_not_fall_while_it_warms_up():
    rule = fj.coordinatewise(curvature="adaptive", evidence_decay=0.9)
    tx = fj.feasible_updates("retain", rule=rule, warmup_steps=20)
    params, state, rates = jnp.ones(3), None, []
    state = tx.init(params)
    for _ in range(21):
        _, state = tx.update(-0.1 * params, state, params, retain=moments(0.1 * np.ones(3)))
        rates.append(float(state.rule_state.rate))
    assert len(set(rates)) == 1


def test_it_can_be_injected():
    tx = optax.inject_hyperparams(fj.feasible_updates, static_args=("decrease", "increase"))(
        "retain", warmup_steps=2
    )
    updates = -jnp.ones(2)
    state, kept = tx.init(updates), []
    for _ in range(3):
        masked, state = tx.update(updates, state, retain=moments([1.0, 1.0]))
        kept.append(int((masked != 0).sum()))
    assert kept == [0, 0, 2]


@pytest.mark.parametrize("warmup", [-1, 0.5, None, "10", 2**31])
def test_what_is_no_number_of_updates_is_refused(warmup):
    with pytest.raises(ValueError, match=f"warmup_steps={warmup!r}: give a whole number"):
        fj.feasible_updates("retain", warmup_steps=warmup)


def test_a_run_that_ends_while_its_mask_warms_up_is_refused():
    def never(w, example):
        raise AssertionError("long work has begun")

    data = jnp.ones((4, 2))
    with pytest.raises(ValueError, match=r"steps=20.*more steps than warmup_steps=20"):
        fj.unlearn(
            never, jnp.zeros(2), forget=data[:2], retain=2 * data, optimizer=optax.sgd(0.1),
            method=fj.methods.gradient_ascent(), steps=20,
            feasibility=optax.chain(fj.feasible_updates("retain", warmup_steps=20)),
        )  # fmt: skip


def test_patience_begins_with_the_first_step_that_might_pass():
    def loss(w, x):
        return 0.5 * jnp.sum((w - x) ** 2)

    never = optax.chain(
        fj.feasible_updates("retain", warmup_steps=6),
        fj.certify_updates("retain", test="student", confidence=1 - 1e-9),
    )
    result = fj.unlearn(
        loss, jnp.zeros(2), forget=-jnp.ones((4, 2)), retain=jnp.ones((8, 2)), steps=30,
        method=fj.methods.gradient_ascent(), optimizer=optax.sgd(-0.1), progress=False,
        feasibility=never, batch_size=8, certify_batch_size=8, patience=4, chunk_size=1,
    )  # fmt: skip
    assert result.stop.step == 10
    assert "in 4 steps in a row" in result.stop.reason


def test_a_warmup_counts_updates_and_not_microbatches():
    """Patience waits for as many updates as the mask does, of two microbatches each."""

    def loss(w, x):
        return 0.5 * jnp.sum((w - x) ** 2)

    def run(rate):
        mask = optax.chain(optax.sgd(rate), fj.feasible_updates("retain", warmup_steps=6))
        return fj.unlearn(
            loss, jnp.zeros(2), forget=-jnp.ones((4, 2)), retain=jnp.ones((8, 2)), steps=26,
            method=fj.methods.gradient_ascent(), optimizer=optax.identity(), progress=False,
            feasibility=fj.accumulate_evidence(mask, 2), batch_size=8, patience=4, chunk_size=1,
        )  # fmt: skip

    good = run(0.1)
    assert good.stop is None
    np.testing.assert_array_equal(np.flatnonzero(~good.history.abstained), range(13, 26, 2))
    bad = run(-0.1)
    assert bad.stop.step == 16, "after 12 steps of warm-up"


def test_a_level_is_spent_only_when_something_may_pass():
    tx = fj.feasible_updates("retain", spending=fj.alpha_spending(2), warmup_steps=3)
    updates = -jnp.ones(2)
    state, levels = tx.init(updates), []
    for _ in range(6):
        _, state = tx.update(updates, state, retain=moments([1.0, 1.0]))
        levels.append(float(state.level))
    np.testing.assert_allclose(levels, [0.025] * 5 + [0.0], rtol=1e-5)


def test_a_run_starts_after_its_warmup():
    def loss(w, x):
        return 0.5 * jnp.sum((w - x) ** 2)

    result = fj.unlearn(
        loss, jnp.zeros(2), forget=-jnp.ones((4, 2)), retain=jnp.ones((8, 2)), steps=6,
        method=fj.methods.gradient_ascent(), optimizer=optax.sgd(0.1), progress=False,
        feasibility=fj.feasible_updates("retain", warmup_steps=3), batch_size=8,
    )  # fmt: skip
    np.testing.assert_array_equal(result.history.kept > 0, [False] * 3 + [True] * 3)
