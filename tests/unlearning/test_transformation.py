import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.unlearning.transformation import chained, init_state

SGD = optax.sgd(0.1)
FEASIBLE = fj.feasible_updates(decrease=("retain",))
PARAMS = {"w": jnp.ones(3)}


class TestChained:
    def test_the_mask_of_feasible_updates_comes_after_the_optimizer(self):
        tx = chained(optax.sgd(0.1, momentum=0.9), FEASIBLE, False)
        trace, mask = tx.init(PARAMS)
        assert optax.tree_utils.tree_get(trace, "trace")["w"].shape == (3,)
        assert isinstance(mask, fj.FeasibleUpdatesState)

    def test_a_prepared_mask_comes_between(self):
        tx = chained(SGD, FEASIBLE, True)
        state = tx.init(PARAMS)
        assert len(state) == 3
        assert isinstance(state[-1], fj.FeasibleUpdatesState)

    def test_without_either_it_is_the_optimizer_and_takes_evidence(self):
        tx = chained(SGD, None, False)
        updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS, retain="ignored")
        np.testing.assert_allclose(updates["w"], -0.1 * np.ones(3), rtol=1e-6)

    def test_the_same_parts_give_the_same_object(self):
        assert chained(SGD, FEASIBLE, False) is chained(SGD, FEASIBLE, False)
        assert chained(SGD, FEASIBLE, False) is not chained(SGD, FEASIBLE, True)


class TestInitState:
    def test_leaves_are_arrays(self):
        tx = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)
        state = init_state(tx, PARAMS, {})
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))

    def test_only_what_was_injected_is_set(self):
        """Neither a momentum of a parameter of that name nor a counter."""
        params = {"learning_rate": np.array([1.0, -2.0, 0.25]), "count": np.array(0.5)}
        tx = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1, momentum=0.9)
        state = init_state(tx, params, {"learning_rate": 0.25})
        assert state.hyperparams["learning_rate"] == 0.25
        np.testing.assert_array_equal(state.inner_state[0].trace["learning_rate"], np.zeros(3))
        with pytest.raises(ValueError, match="'count'"):
            init_state(tx, params, {"count": 1.0})

    def test_it_is_found_anywhere_in_a_chain(self):
        feasibility = optax.inject_hyperparams(
            fj.feasible_updates, static_args=("decrease", "increase", "rule", "test")
        )(decrease=("retain",), confidence=0.5)
        state = init_state(chained(SGD, feasibility, False), PARAMS, {"confidence": 0.75})
        assert state[-1].hyperparams["confidence"] == 0.75

    @pytest.mark.parametrize("name", ["learning_rate", "confidence"])
    def test_what_nobody_reads_is_refused(self, name):
        for tx in (SGD, optax.chain(SGD, FEASIBLE)):
            with pytest.raises(ValueError, match=f"{name}.*inject_hyperparams"):
                init_state(tx, PARAMS, {name: 0.5})

    def test_what_a_schedule_sets_is_refused(self):
        tx = optax.inject_hyperparams(optax.sgd)(learning_rate=optax.constant_schedule(0.1))
        with pytest.raises(ValueError, match="schedule"):
            init_state(tx, PARAMS, {"learning_rate": 0.5})

    def test_the_dtype_stays(self):
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
        tx = optax.inject_hyperparams(optax.sgd)(learning_rate=0.05)
        state = init_state(tx, params, {"learning_rate": 0.1})
        assert state.hyperparams["learning_rate"].dtype == jnp.bfloat16
