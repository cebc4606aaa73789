import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.feasibility import feasible_updates, random_mask

UPDATES = {"a": jnp.ones(10_000), "b": jnp.ones(10_000)}


def masks(rule, steps=2):
    tx = feasible_updates("retain", rule=rule)
    state = tx.init(UPDATES)
    for _ in range(steps):
        kept, state = tx.update(UPDATES, state)
        yield jax.tree.map(lambda leaf: np.asarray(leaf) != 0, kept), state


@pytest.mark.parametrize("density", [0.0, 0.03, 0.5, 1.0])
def test_density_is_the_fraction_kept(density):
    (mask, state), _ = masks(random_mask(density))
    error = np.sqrt(density * (1 - density) / 20_000)
    assert abs(float(state.kept) - density) <= 4.5 * error
    assert abs(mask["a"].mean() - density) <= 4.5 * error * np.sqrt(2)
    assert float(state.pass_rate["retain"]) == float(state.kept)


def test_steps_leaves_and_seeds_are_independent():
    (first, _), (second, _) = masks(random_mask(0.5))
    (other, _), _ = masks(random_mask(0.5, seed=1))
    for a, b in ((first["a"], second["a"]), (first["a"], first["b"]), (first["a"], other["a"])):
        assert abs(np.mean(a == b) - 0.5) < 4.5 * 0.5 / np.sqrt(10_000)


def test_the_same_seed_and_step_give_the_same_mask():
    for (a, _), (b, _) in zip(masks(random_mask(0.5, 3)), masks(random_mask(0.5, 3)), strict=True):
        np.testing.assert_array_equal(a["a"], b["a"])


def test_it_needs_no_evidence_and_minds_none():
    tx = feasible_updates("retain", "forget", rule=random_mask(0.5))
    state = tx.init(UPDATES)
    assert state.requires.needs == "nothing"
    tx.update(UPDATES, state, retain=jnp.full(3, jnp.nan), forget="whatever")


@pytest.mark.parametrize("density", [-0.1, 1.1, np.nan, 2])
def test_densities_outside_the_unit_interval_are_refused(density):
    with pytest.raises(ValueError, match=r"density=.*probability in \[0, 1\]"):
        random_mask(density)
