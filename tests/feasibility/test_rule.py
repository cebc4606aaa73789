import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.feasibility import Rule, Selection, feasible_updates
from feasible_jax.feasibility.rule import all_of, stateless


def test_all_of_is_the_conjunction():
    yes, no = jnp.array([True, True, False]), jnp.array([True, False, True])
    (keep,) = all_of({"a": (yes,), "b": (no,), "c": (yes,)})
    assert keep.tolist() == [True, False, False]
    assert all_of({"a": (yes,)})[0] is yes


def test_stateless_keeps_nothing():
    assert stateless({"w": 1}) == ()


def patience(steps):
    """A rule of one's own, with state: nothing passes for some steps, then all does."""

    def select(proposal, seen):
        keep = tuple(seen >= steps for _ in proposal.updates)  # a scalar that broadcasts
        return Selection(keep, {c.name: keep for c in proposal.constraints}), seen + 1

    return Rule("patience", "nothing", lambda params: jnp.zeros((), jnp.int32), select)


def test_a_rule_of_ones_own_may_hold_state_and_broadcast():
    tx = feasible_updates("retain", rule=patience(2))
    updates = {"w": jnp.ones((2, 3)), "b": jnp.ones(())}
    state, update = tx.init(updates), jax.jit(tx.update)
    kept = []
    for _ in range(4):
        masked, state = update(updates, state)
        kept.append(float(state.kept))
        assert float(masked["w"].sum()) == 6 * kept[-1]
    assert kept == [0, 0, 1, 1]
    assert state.rule_state == 4


def test_a_rule_is_told_all_it_needs():
    seen = {}

    def select(proposal, state):
        seen["proposal"] = proposal
        keep = tuple(jnp.ones(u.shape, bool) for u in proposal.updates)
        return Selection(keep, {}), state

    tx = feasible_updates("a", "b", rule=Rule("spy", "moments", stateless, select), confidence=0.9)
    updates = {"x": {"w": jnp.ones(2)}, "hole": None}
    grads = {"x": {"w": jnp.ones((5, 2))}, "hole": None}
    tx.update(updates, tx.init(updates), a=grads, b=grads)
    proposal = seen["proposal"]
    assert proposal.paths == ("x/w",)
    assert [c.sign for c in proposal.constraints] == [1, -1]
    assert proposal.evidence["b"].count == 5
    np.testing.assert_allclose(proposal.critical["a"], 1.5332, rtol=1e-4)
    assert proposal.step == 0


def test_what_is_no_rule_is_refused():
    with pytest.raises(TypeError, match=r"rule='coordinatewise' is not a Rule.*coordinatewise\(\)"):
        feasible_updates("retain", rule="coordinatewise")
