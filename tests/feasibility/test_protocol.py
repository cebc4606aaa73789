"""What every rule owes to Optax, to jit and to whoever reads its masks."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from feasible_jax.feasibility import feasible_updates
from feasible_jax.moments import GradientMoments, moments_from_per_example


def both(rule, **options):
    return feasible_updates(decrease="retain", increase="forget", rule=rule(), **options)


def avals(tree):
    return jax.tree.map(lambda leaf: str(jax.typeof(leaf)), tree)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_dtypes_structure_and_one_compilation(any_rule, make_tree, dtype):
    with jax.enable_x64(dtype == "float64"):
        tx = both(any_rule, confidence=0.6)
        params = make_tree(0, dtype=dtype)
        state = tx.init(params)
        traces = []

        @jax.jit
        def step(updates, state, retain, forget):
            traces.append(1)
            return tx.update(updates, state, params, retain=retain, forget=forget)

        for seed in range(3):
            evidence = {
                k: make_tree(seed + i, (6,), dtype) for i, k in enumerate(("retain", "forget"))
            }
            updates, new_state = step(make_tree(seed, dtype=dtype), state, **evidence)
            chex.assert_trees_all_equal(avals(updates), avals(params))
            chex.assert_trees_all_equal(avals(new_state), avals(state))
            assert jax.tree.structure(new_state) == jax.tree.structure(state)
            state = new_state
        assert len(traces) == 1
        assert step._cache_size() == 1
        assert state.step == 3


def test_jit_changes_no_mask(any_rule, make_tree):
    tx = both(any_rule, confidence=0.6)
    updates, retain, forget = make_tree(0), make_tree(1, (9,)), make_tree(2, (9,))
    arguments = updates, tx.init(updates)
    eager = tx.update(*arguments, retain=retain, forget=forget)
    jitted = jax.jit(tx.update)(*arguments, retain=retain, forget=forget)
    chex.assert_trees_all_close(eager, jitted, rtol=1e-6)


def test_init_needs_shapes_alone(any_rule, make_tree):
    tx = both(any_rule)
    abstract = jax.eval_shape(lambda: make_tree(0))
    chex.assert_trees_all_equal(tx.init(abstract), tx.init(make_tree(0)))
    shapes = jax.eval_shape(tx.init, abstract)
    chex.assert_trees_all_equal_shapes_and_dtypes(shapes, tx.init(make_tree(0)))


def test_what_is_kept_is_the_update_itself(any_rule, make_tree):
    tx = both(any_rule, confidence=0.6)
    updates = make_tree(0)
    kept, state = tx.update(
        updates, tx.init(updates), retain=make_tree(1, (9,)), forget=make_tree(2, (9,))
    )
    for after, before in zip(jax.tree.leaves(kept), jax.tree.leaves(updates), strict=True):
        assert np.all((after == before) | (after == 0))
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(kept)])
    assert float(state.kept) == pytest.approx(np.mean(flat != 0), abs=1e-6)
    per_leaf = jax.tree.map(lambda leaf: np.float32(np.mean(np.asarray(leaf) != 0)), kept)
    chex.assert_trees_all_close(state.kept_per_leaf, per_leaf, atol=1e-6)
    assert all(float(rate) >= float(state.kept) - 1e-6 for rate in state.pass_rate.values())


def test_a_zero_update_stays_zero(any_rule, make_tree):
    tx = both(any_rule)
    zero = jax.tree.map(jnp.zeros_like, make_tree(0))
    kept, state = tx.update(
        zero, tx.init(zero), retain=make_tree(1, (9,)), forget=make_tree(2, (9,))
    )
    chex.assert_trees_all_equal(kept, zero)
    assert state.kept == 0
    assert set(map(float, state.pass_rate.values())) == {0.0}


BAD = (np.nan, np.inf, -np.inf)


def test_a_step_that_is_not_finite_becomes_zero(any_rule, make_tree):
    tx = both(any_rule, confidence=0.01)
    update = jax.jit(tx.update)
    updates = make_tree(0)
    kernel = updates["dense"]["kernel"]
    for bad in BAD:
        updates["dense"]["kernel"] = kernel.at[1, 2].set(bad)
        kept, state = update(
            updates, tx.init(updates), retain=make_tree(1, (9,)), forget=make_tree(2, (9,))
        )
        assert kept["dense"]["kernel"][1, 2] == 0
        chex.assert_tree_all_finite((kept, state))
        moved = sum(int(np.sum(np.asarray(leaf) != 0)) for leaf in jax.tree.leaves(kept))
        assert float(state.kept) == pytest.approx(moved / 17, abs=1e-6)


def welcome(updates):
    """Evidence of 6 examples, equal and good for every coordinate of an update."""

    def tiled(sign):
        return jax.tree.map(lambda u: jnp.repeat(sign * jnp.sign(u)[None], 6, 0), updates)

    return {"retain": tiled(-1.0), "forget": tiled(1.0)}


def test_evidence_that_is_not_finite_lets_nothing_pass(looking_rule, make_tree):
    tx = both(looking_rule, confidence=0.01)
    update = jax.jit(tx.update)
    updates = make_tree(0)
    zero = jax.tree.map(jnp.zeros_like, updates)
    evidence = welcome(updates)
    _, state = update(updates, tx.init(updates), **evidence)
    assert state.kept == 1  # were it not for what comes
    for name, bad, rows in itertools.product(evidence, BAD, (slice(None), slice(3, 4))):
        spoilt = jax.tree.map(lambda leaf, r=rows, b=bad: leaf.at[r].set(b), evidence[name])
        kept, state = update(updates, tx.init(updates), **{**evidence, name: spoilt})
        chex.assert_trees_all_equal(kept, zero)
        chex.assert_tree_all_finite(state)


def test_moments_that_are_not_finite_let_nothing_pass(moments_rule, make_tree):
    tx = feasible_updates(decrease="retain", rule=moments_rule(), confidence=0.01)
    update = jax.jit(tx.update)
    updates = make_tree(0)

    def full(value):
        return jax.tree.map(lambda u: jnp.full_like(u, value), updates)

    for bad, variance in itertools.product(BAD, (0.0, 1.0)):
        moments = GradientMoments(full(bad), full(variance), jnp.float32(8))
        kept, _ = update(updates, tx.init(updates), retain=moments)
        chex.assert_trees_all_equal(kept, full(0.0))


@pytest.mark.parametrize("size", [0, 1])
def test_without_two_examples_nothing_passes(testing_rule, make_tree, size):
    updates = make_tree(0)
    few = jax.tree.map(lambda leaf: leaf[:size], welcome(updates))
    for test, confidence in (("student", 0.99), ("normal", 0.5), ("normal", 0.01)):
        tx = both(testing_rule, test=test, confidence=confidence)
        kept, state = jax.jit(tx.update)(updates, tx.init(updates), **few)
        chex.assert_trees_all_equal(kept, jax.tree.map(jnp.zeros_like, updates))
        assert state.kept == 0


def test_zero_gradients_are_neutral(looking_rule, make_tree):
    tx = both(looking_rule, confidence=0.999)
    updates = make_tree(0)
    nothing = jax.tree.map(jnp.zeros_like, make_tree(0, (5,)))
    kept, state = tx.update(updates, tx.init(updates), retain=nothing, forget=nothing)
    chex.assert_trees_all_equal(kept, updates)
    assert state.kept == 1


def test_gradients_too_small_to_square_are_not_taken_for_zero(testing_rule, make_tree):
    tx = feasible_updates(decrease="retain", rule=testing_rule(), confidence=0.95)
    update = jax.jit(tx.update)
    updates = make_tree(0)
    for scale in (1e-36, 1e-30, 1e-22):
        noise = jax.tree.map(lambda g, s=scale: g * s, make_tree(1, (8,)))
        kept, _ = update(updates, tx.init(updates), retain=noise)
        chex.assert_trees_all_equal(kept, jax.tree.map(jnp.zeros_like, updates))


def test_the_size_of_the_step_changes_no_mask(testing_rule, make_tree):
    tx = feasible_updates(decrease="retain", rule=testing_rule(), confidence=0.6)
    update = jax.jit(tx.update)
    direction = jax.tree.map(jnp.sign, make_tree(0))
    retain = make_tree(1, (8,))
    want, state = update(direction, tx.init(direction), retain=retain)
    assert 0 < state.kept < 1
    for step in (1e-36, 1e-20, 1e-8, 1e8, 1e30):
        updates = jax.tree.map(lambda u, s=step: u * s, direction)
        got, _ = update(updates, tx.init(updates), retain=retain)
        chex.assert_trees_all_equal(jax.tree.map(jnp.sign, got), want)


def test_the_unit_of_the_loss_changes_no_mask(looking_rule, make_tree):
    tx = both(looking_rule, confidence=0.6)
    update = jax.jit(tx.update)
    updates, retain, forget = make_tree(0), make_tree(1, (8,)), make_tree(2, (8,))
    want, _ = update(updates, tx.init(updates), retain=retain, forget=forget)
    for scale in (1e-12, 1e-6, 1e6, 1e15):
        scaled = [jax.tree.map(lambda g, s=scale: g * s, tree) for tree in (retain, forget)]
        got, _ = update(updates, tx.init(updates), retain=scaled[0], forget=scaled[1])
        chex.assert_trees_all_equal(got, want)


def test_moments_and_per_example_gradients_give_the_same_mask(moments_rule, make_tree):
    tx = both(moments_rule, confidence=0.6)
    updates, retain, forget = make_tree(0), make_tree(1, (8,)), make_tree(2, (8,))
    want = tx.update(updates, tx.init(updates), retain=retain, forget=forget)
    mixed = {"retain": moments_from_per_example(retain), "forget": forget}
    chex.assert_trees_all_close(tx.update(updates, tx.init(updates), **mixed), want)


def test_swapping_the_sign_of_an_objective_swaps_its_direction(looking_rule, make_tree):
    updates, retain = make_tree(0), make_tree(1, (8,))
    down = feasible_updates(decrease="retain", rule=looking_rule(), confidence=0.6)
    up = feasible_updates(increase="retain", rule=looking_rule(), confidence=0.6)
    want, _ = down.update(updates, down.init(updates), retain=retain)
    got, _ = up.update(updates, up.init(updates), retain=jax.tree.map(jnp.negative, retain))
    chex.assert_trees_all_equal(got, want)


def test_evidence_missing_is_named(looking_rule, make_tree):
    tx = both(looking_rule)
    updates = make_tree(0)
    with pytest.raises(TypeError, match=r"missing.*'forget'.*forget=.*per-example"):
        tx.update(updates, tx.init(updates), retain=make_tree(1, (8,)))


def test_arguments_of_others_are_ignored(any_rule, make_tree):
    tx = both(any_rule)
    updates, retain, forget = make_tree(0), make_tree(1, (8,)), make_tree(2, (8,))
    tx.update(
        updates,
        tx.init(updates),
        None,
        retain=retain,
        forget=forget,
        value=1.0,
        value_fn=abs,
        rng=None,
    )


@pytest.mark.parametrize("empty", [{}, (), {"frozen": None}, optax.MaskedNode()])
def test_trees_without_leaves(any_rule, empty):
    tx = both(any_rule)
    state = tx.init(empty)
    updates, after = jax.jit(tx.update)(empty, state, empty, retain=empty, forget=empty)
    assert updates == empty
    chex.assert_trees_all_equal_structs(after, state)
    assert after.kept == 0


def test_leaves_without_entries(any_rule):
    tx = both(any_rule)
    updates = {"none": jnp.zeros((0, 3)), "one": jnp.ones(1)}
    evidence = {"none": jnp.zeros((4, 0, 3)), "one": jnp.zeros((4, 1))}
    kept, state = tx.update(updates, tx.init(updates), retain=evidence, forget=evidence)
    assert kept["none"].shape == (0, 3)
    assert state.kept_per_leaf["none"] == 0


def test_numpy_and_numbers_are_taken_as_arrays(any_rule):
    tx = both(any_rule)
    updates = {"a": np.ones(2, np.float32), "b": -0.5}
    evidence = {"a": np.zeros((4, 2), np.float32), "b": np.zeros(4, np.float32)}
    kept, _ = tx.update(updates, tx.init(updates), retain=evidence, forget=evidence)
    assert kept["a"].shape == (2,)


def test_sharded_parameters_keep_mask_and_sharding(any_rule, make_tree):
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    tx = feasible_updates(decrease="retain", rule=any_rule(), confidence=0.6)
    rng = np.random.default_rng(0)
    updates = {"w": jnp.asarray(rng.normal(size=(16, 4)), jnp.float32)}
    retain = {"w": jnp.asarray(rng.normal(size=(6, 16, 4)), jnp.float32)}
    state = tx.init(updates)
    want, want_state = tx.update(updates, state, retain=retain)
    columns = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "x"))
    got, got_state = jax.jit(tx.update)(
        jax.device_put(updates, spread),
        jax.device_put(state, whole),
        retain=jax.device_put(retain, columns),
    )
    chex.assert_trees_all_equal(got, want)
    chex.assert_trees_all_close(got_state, want_state, rtol=1e-6)
    assert got["w"].sharding.is_equivalent_to(spread, 2)
    assert got_state.kept.sharding.is_fully_replicated
