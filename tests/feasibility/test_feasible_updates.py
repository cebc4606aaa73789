import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from feasible_jax.feasibility import FeasibleUpdatesState, feasible_updates
from feasible_jax.moments import GradientMoments

UPDATES = {"w": jnp.array([-1.0, 1.0, -1.0, 0.0]), "b": jnp.array(-1.0)}
RETAIN = {"w": jnp.ones((6, 4)).at[:, 2].set(-1), "b": jnp.zeros(6)}


def test_the_state_tells_what_was_kept():
    tx = feasible_updates("retain")
    kept, state = tx.update(UPDATES, tx.init(UPDATES), retain=RETAIN)
    chex.assert_trees_all_equal(kept, {"w": jnp.array([-1.0, 0, 0, 0]), "b": jnp.array(-1.0)})
    assert isinstance(state, FeasibleUpdatesState)
    assert state.step == 1
    assert float(state.kept) == 0.5  # two of the four that would have moved
    np.testing.assert_allclose(state.kept_per_leaf["w"], 1 / 3)
    assert state.kept_per_leaf["b"] == 1
    assert state.pass_rate["retain"] == 0.5
    np.testing.assert_allclose(state.confidence, 0.95)


def test_many_constraints_are_all_heeded():
    names = [f"objective_{i}" for i in range(5)]
    tx = feasible_updates(names[:3], names[3:])
    updates = -jnp.ones(5)
    good = np.array([1, 1, 1, -1, -1])
    harm = np.where(np.eye(5), -1.0, 1.0) * good[:, None]
    evidence = {
        name: jnp.tile(jnp.asarray(row, jnp.float32), (6, 1))
        for name, row in zip(names, harm, strict=True)
    }
    kept, state = tx.update(updates, tx.init(updates), **evidence)
    chex.assert_trees_all_equal(kept, jnp.zeros(5))  # each coordinate harms one objective
    assert {round(float(rate), 6) for rate in state.pass_rate.values()} == {0.8}


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 1.5, np.nan, 95, True, np.float32(1.5)])
def test_confidences_outside_the_unit_interval_are_refused(confidence):
    with pytest.raises(ValueError, match=r"confidence=.*\(0, 1\)"):
        feasible_updates("retain", confidence=confidence)


def test_unknown_tests_are_refused():
    with pytest.raises(ValueError, match=r"test='z'.*'normal', 'student'"):
        feasible_updates("retain", test="z")


def test_no_constraint_is_refused():
    with pytest.raises(ValueError, match="no constraints"):
        feasible_updates()


def test_the_test_chosen_is_the_test_made():
    moments = GradientMoments(jnp.ones(1), jnp.ones(1), 4.0)  # t = 2: above 1.645, below 2.353
    updates = -jnp.ones(1)
    for test, kept in (("normal", 1.0), ("student", 0.0)):
        tx = feasible_updates("retain", test=test)
        _, state = tx.update(updates, tx.init(updates), retain=moments)
        assert state.kept == kept


@pytest.mark.parametrize(
    "schedule",
    [
        optax.linear_schedule(0.5, 0.9, 2),
        lambda step: 0.5 + 0.2 * step.astype(jnp.float32),
        lambda step: (0.5 + 0.2 * step.astype(jnp.float32)).astype(jnp.bfloat16),
    ],
)
def test_a_schedule_sets_the_confidence_of_each_step(schedule):
    tx = feasible_updates("retain", confidence=schedule)
    state, update = tx.init(UPDATES), jax.jit(tx.update)
    levels = []
    for _ in range(3):
        _, state = update(UPDATES, state, retain=RETAIN)
        levels.append(float(state.confidence))
    np.testing.assert_allclose(levels, [0.5, 0.7, 0.9], rtol=4e-3)
    assert update._cache_size() == 1


def test_a_constant_schedule_may_return_a_number():
    tx = feasible_updates("retain", confidence=lambda step: 0.9)
    _, state = tx.update(UPDATES, tx.init(UPDATES), retain=RETAIN)
    np.testing.assert_allclose(state.confidence, 0.9)


@pytest.mark.parametrize("level", [-1.0, 1.0, 2.0, np.nan])
@pytest.mark.parametrize("test", ["normal", "student"])
@pytest.mark.parametrize("size", [2, 3, 9])
def test_a_schedule_that_leaves_the_unit_interval_fails_safe(level, test, size):
    tx = feasible_updates("retain", confidence=lambda step: jnp.float32(level), test=test)
    updates = -jnp.ones(1)
    retain = 1 + 0.01 * jnp.arange(size, dtype=jnp.float32)[:, None]
    _, state = tx.update(updates, tx.init(updates), retain=retain)
    assert state.kept == 0


def test_requirements_are_no_leaf_and_can_be_read_off():
    state = feasible_updates("retain", "forget").init(UPDATES)
    assert [c.name for c in state.requires.constraints] == ["retain", "forget"]
    assert state.requires.needs == "moments"
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    assert optax.tree_utils.tree_get((state, optax.EmptyState()), "requires") is state.requires


def test_the_step_counter_does_not_overflow():
    tx = feasible_updates("retain")
    last = np.iinfo(np.int32).max
    state = tx.init(UPDATES)._replace(step=jnp.int32(last))
    _, state = tx.update(UPDATES, state, retain=RETAIN)
    assert state.step == last


@pytest.mark.slow
def test_the_fraction_kept_is_exact_for_many_coordinates():
    """A float32 count of ones stands still at 2**24."""
    size = 2**24 + 2**23
    updates = -jnp.ones(size)
    one = jnp.ones(size)
    tx = feasible_updates("retain")
    moments = GradientMoments(one.at[: size // 3].set(-1), jnp.zeros(size), 8.0)
    _, state = jax.jit(tx.update)(updates, tx.init(updates), retain=moments)
    np.testing.assert_allclose(state.kept, 2 / 3, rtol=1e-6)
