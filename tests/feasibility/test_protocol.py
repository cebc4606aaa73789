"""What every rule owes to Optax, to jit and to whoever reads its masks."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from feasible_jax.feasibility import feasible_updates
from feasible_jax.moments import GradientMoments, moments_from_per_example

BAD = (np.nan, np.inf, -np.inf)
SIZE = 8


def both(rule, **options):
    return feasible_updates(decrease="retain", increase="forget", rule=rule(), **options)


@functools.cache
def compiled(rule):
    """One compilation a rule for most of this file: the confidence is traced."""

    @jax.jit
    def apply(updates, retain, forget, confidence):
        tx = both(rule, confidence=lambda step: confidence)
        return tx.update(updates, tx.init(updates), retain=retain, forget=forget)

    return apply


def masked(rule, updates, retain, forget=None, confidence=0.6):
    """Updates and state after one step; without a forget set, its gradients are all zero."""
    forget = jax.tree.map(jnp.zeros_like, retain) if forget is None else forget
    return compiled(rule)(updates, retain, forget, jnp.float32(confidence))


def zeros_like(tree):
    return jax.tree.map(jnp.zeros_like, tree)


def scaled(tree, scale):
    return jax.tree.map(lambda leaf: leaf * scale, tree)


def welcome(updates):
    """Evidence of examples that are all alike and good for every coordinate of an update."""

    def tiled(sign):
        return jax.tree.map(lambda u: jnp.repeat(sign * jnp.sign(u)[None], SIZE, 0), updates)

    return {"retain": tiled(-1.0), "forget": tiled(1.0)}


@pytest.fixture(scope="module")
def drawn(make_tree):
    """An update and noisy evidence on both sets."""
    return make_tree(0), make_tree(1, (SIZE,)), make_tree(2, (SIZE,))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_dtypes_and_structure_never_change(any_rule, make_tree, dtype):
    def avals(tree):
        return jax.tree.map(lambda leaf: str(jax.typeof(leaf)), tree)

    with jax.enable_x64(dtype == "float64"):
        tx = both(any_rule, confidence=0.6)
        params = make_tree(0, dtype=dtype)
        state = tx.init(params)
        retain, forget = (make_tree(seed, (SIZE,), dtype) for seed in (1, 2))
        seen = []
        jax.eval_shape(lambda: seen.extend(tx.update(params, state, retain=retain, forget=forget)))
        assert avals(seen[0]) == avals(params)
        assert avals(seen[1]) == avals(state)
        assert jax.tree.structure(seen[1]) == jax.tree.structure(state)


def test_leaves_of_different_types_keep_them(every_rule):
    shapes = {"half": ((2, 3), "bfloat16"), "wide": ((3,), "float64"), "scalar": ((), "float32")}

    def tree(seed, *lead):
        rng = np.random.default_rng(seed)
        return {
            name: jnp.asarray(rng.normal(size=(*lead, *shape)), dtype)
            for name, (shape, dtype) in shapes.items()
        }

    with jax.enable_x64(True):
        tx, params = both(every_rule), tree(0)
        state = tx.init(params)
        update = functools.partial(tx.update, retain=tree(1, SIZE), forget=tree(2, SIZE))
        after = jax.eval_shape(update, params, state, params)
        assert after == jax.eval_shape(lambda: (params, state))


def test_optax_finds_whatever_is_shaped_like_the_parameters(every_rule, make_tree):
    """As it has to for those who place optimizer states on a mesh."""
    tx, params = both(every_rule), make_tree(0)

    def found(leaf, param):
        assert leaf.shape in (param.shape, ())  # a scalar a leaf: ``kept_per_leaf``
        return leaf

    def others(leaf):
        assert leaf.shape == ()
        return leaf

    state = tx.init(params)
    same = optax.tree.map_params(tx, found, state, params, transform_non_params=others)
    chex.assert_trees_all_equal(same, state)


def test_one_compilation_serves_every_step(any_rule, make_tree):
    tx = both(any_rule, confidence=0.6)
    state = tx.init(make_tree(0))
    traces = []

    @jax.jit
    def step(updates, state, retain, forget):
        traces.append(1)
        return tx.update(updates, state, retain=retain, forget=forget)

    for seed in range(3):
        _, state = step(make_tree(seed), state, make_tree(seed, (SIZE,)), make_tree(9, (SIZE,)))
    assert len(traces) == step._cache_size() == 1
    assert state.step == 3


def test_jit_changes_no_mask(moments_rule, drawn):
    updates, retain, forget = drawn
    tx = both(moments_rule, confidence=0.6)
    eager = tx.update(updates, tx.init(updates), retain=retain, forget=forget)
    chex.assert_trees_all_close(masked(moments_rule, *drawn), eager, rtol=1e-6)


def test_init_needs_shapes_alone(every_rule, make_tree):
    tx = both(every_rule)
    abstract = jax.eval_shape(lambda: make_tree(0))
    chex.assert_trees_all_equal(tx.init(abstract), tx.init(make_tree(0)))
    shapes = jax.eval_shape(tx.init, abstract)
    chex.assert_trees_all_equal_shapes_and_dtypes(shapes, tx.init(make_tree(0)))


def test_what_is_kept_is_the_update_itself(masking_rule, drawn):
    kept, state = masked(masking_rule, *drawn)
    for after, before in zip(jax.tree.leaves(kept), jax.tree.leaves(drawn[0]), strict=True):
        assert np.all((after == before) | (after == 0))
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(kept)])
    assert float(state.kept) == pytest.approx(np.mean(flat != 0), abs=1e-6)
    per_leaf = jax.tree.map(lambda leaf: np.float32(np.mean(np.asarray(leaf) != 0)), kept)
    chex.assert_trees_all_close(state.kept_per_leaf, per_leaf, atol=1e-6)
    assert all(float(rate) >= float(state.kept) - 1e-6 for rate in state.pass_rate.values())


def test_a_zero_update_stays_zero(any_rule, drawn):
    updates, *evidence = drawn
    kept, state = masked(any_rule, zeros_like(updates), *evidence)
    chex.assert_trees_all_equal(kept, zeros_like(updates))
    assert state.kept == 0
    assert set(map(float, state.pass_rate.values())) == {0.0}


def test_a_step_that_is_not_finite_becomes_zero(any_rule, drawn):
    updates, *evidence = drawn
    for bad in BAD:
        kernel = updates["dense"]["kernel"].at[1:].set(bad)
        spoilt = {**updates, "dense": {**updates["dense"], "kernel": kernel}}
        kept, state = masked(any_rule, spoilt, *evidence, confidence=0.01)
        assert not np.any(kept["dense"]["kernel"][1:])
        chex.assert_tree_all_finite((kept, state))
        moved = sum(int(np.sum(np.asarray(leaf) != 0)) for leaf in jax.tree.leaves(kept))
        assert float(state.kept) == pytest.approx(moved / 17, abs=1e-6)


def test_evidence_that_is_not_finite_lets_nothing_pass(looking_rule, drawn):
    updates, evidence = drawn[0], welcome(drawn[0])
    _, state = masked(looking_rule, updates, **evidence, confidence=0.01)
    assert state.kept == 1  # were it not for what comes
    for name, bad, rows in itertools.product(evidence, BAD, (slice(None), slice(3, 4))):
        spoilt = jax.tree.map(lambda leaf, r=rows, b=bad: leaf.at[r].set(b), evidence[name])
        kept, state = masked(looking_rule, updates, **{**evidence, name: spoilt}, confidence=0.01)
        chex.assert_trees_all_equal(kept, zeros_like(updates))
        chex.assert_tree_all_finite(state)


def test_moments_that_are_not_finite_let_nothing_pass(moments_rule, drawn):
    updates = drawn[0]

    def full(value):
        return jax.tree.map(lambda u: jnp.full_like(u, value), updates)

    neutral = GradientMoments(full(0.0), full(0.0), jnp.float32(SIZE))
    for bad, variance in itertools.product(BAD, (0.0, 1.0)):
        moments = GradientMoments(full(bad), full(variance), jnp.float32(SIZE))
        kept, _ = masked(moments_rule, updates, moments, neutral, confidence=0.01)
        chex.assert_trees_all_equal(kept, full(0.0))


def test_a_single_example_lets_nothing_pass(testing_rule, drawn):
    updates = drawn[0]
    one = jax.tree.map(lambda leaf: leaf[:1], welcome(updates))
    # The hardest case: a normal critical value that asks for less than nothing.
    tx = both(testing_rule, test="normal", confidence=0.01)
    kept, state = jax.jit(tx.update)(updates, tx.init(updates), **one)
    chex.assert_trees_all_equal(kept, zeros_like(updates))
    assert state.kept == 0


def test_no_example_lets_nothing_pass(spread_rule):
    tx = feasible_updates("retain", rule=spread_rule())
    updates = -jnp.ones((2, 2))
    kept, _ = tx.update(updates, tx.init(updates), retain=jnp.zeros((0, 2, 2)))
    chex.assert_trees_all_equal(kept, jnp.zeros((2, 2)))


def test_zero_gradients_are_neutral(looking_rule, drawn):
    updates, retain, _ = drawn
    kept, state = masked(looking_rule, updates, zeros_like(retain), confidence=0.999)
    chex.assert_trees_all_equal(kept, updates)
    assert state.kept == 1


def test_gradients_too_small_to_square_are_not_taken_for_zero(testing_rule, drawn):
    updates, retain, _ = drawn
    for scale in (1e-36, 1e-30, 1e-22):
        kept, _ = masked(testing_rule, updates, scaled(retain, scale), confidence=0.95)
        chex.assert_trees_all_equal(kept, zeros_like(updates))


def test_the_size_of_the_step_changes_no_mask(scaleless_rule, make_tree):
    direction = jax.tree.map(jnp.sign, make_tree(0))
    retain = make_tree(4, (SIZE,))
    want, state = masked(scaleless_rule, direction, retain)
    assert 0 < state.kept < 1
    for step in (1e-36, 1e-20, 1e-8, 1e8, 1e30):
        got, _ = masked(scaleless_rule, scaled(direction, step), retain)
        chex.assert_trees_all_equal(jax.tree.map(jnp.sign, got), want)


def test_the_unit_of_the_loss_changes_no_mask(unitless_rule, drawn):
    updates, retain, forget = drawn
    want, _ = masked(unitless_rule, *drawn)
    for scale in (1e-12, 1e-6, 1e6, 1e15):
        got, _ = masked(unitless_rule, updates, scaled(retain, scale), scaled(forget, scale))
        chex.assert_trees_all_equal(got, want)


def test_moments_and_per_example_gradients_give_the_same_mask(moments_rule, drawn):
    updates, retain, forget = drawn
    got = masked(moments_rule, updates, moments_from_per_example(retain), forget)
    chex.assert_trees_all_close(got, masked(moments_rule, *drawn))


def test_swapping_the_sign_of_an_objective_swaps_its_direction(unpriced_rule, drawn):
    updates, retain, _ = drawn
    want, _ = masked(unpriced_rule, updates, retain)
    got, _ = masked(unpriced_rule, updates, zeros_like(retain), scaled(retain, -1))
    chex.assert_trees_all_equal(got, want)


def test_evidence_missing_is_named(looking_rule, drawn):
    updates, retain, _ = drawn
    tx = both(looking_rule)
    with pytest.raises(TypeError, match=r"missing.*'forget'.*forget=.*per-example"):
        tx.update(updates, tx.init(updates), retain=retain)


def test_arguments_of_others_are_ignored(any_rule, drawn):
    updates, retain, forget = drawn
    tx = both(any_rule)
    others = {"value": 1.0, "value_fn": abs, "rng": None}
    jax.eval_shape(
        lambda: tx.update(updates, tx.init(updates), None, retain=retain, forget=forget, **others)
    )


@pytest.mark.parametrize("empty", [{}, (), {"frozen": None}, optax.MaskedNode()])
def test_trees_without_leaves(any_rule, empty):
    tx = both(any_rule)
    state = tx.init(empty)
    updates, after = tx.update(empty, state, empty, retain=empty, forget=empty)
    assert updates == empty
    chex.assert_trees_all_equal_structs(after, state)
    assert after.kept == 0


def test_numpy_numbers_and_empty_leaves_are_taken_as_arrays(any_rule):
    tx = both(any_rule)
    updates = {"a": np.ones(2, np.float32), "b": -0.5, "none": np.zeros((0, 3), np.float32)}
    evidence = {"a": np.zeros((4, 2)), "b": np.zeros(4), "none": np.zeros((4, 0, 3))}
    kept, state = tx.update(updates, tx.init(updates), retain=evidence, forget=evidence)
    assert kept["a"].shape == (2,)
    assert float(kept["b"]) in (0.0, -0.5)
    assert kept["none"].shape == (0, 3)
    assert state.kept_per_leaf["none"] == 0


@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_sharded_parameters_keep_mask_and_sharding(every_rule, kind, quick_compilation):
    mesh = jax.make_mesh((8,), ("x",), axis_types=(kind,))
    whole, rows, columns = (
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
        for axes in ((), ("x",), (None, "x"))
    )
    tx = feasible_updates(decrease="retain", rule=every_rule(), confidence=0.6)
    rng = np.random.default_rng(0)
    updates = {"w": jnp.asarray(rng.normal(size=(16, 4)), jnp.float32)}
    params = {"w": jnp.ones((16, 4))}
    retain = {"w": jnp.asarray(rng.normal(size=(6, 16, 4)), jnp.float32)}
    state, update = tx.init(updates), jax.jit(tx.update)
    want, want_state = update(updates, state, params, retain=retain)
    got, got_state = update(
        jax.device_put(updates, rows),
        jax.device_put(state, whole),
        jax.device_put(params, rows),
        retain=jax.device_put(retain, columns),
    )
    chex.assert_trees_all_equal(jax.tree.map(jnp.sign, got), jax.tree.map(jnp.sign, want))
    chex.assert_trees_all_close((got, got_state), (want, want_state), rtol=1e-5, atol=1e-7)
    assert got["w"].sharding.is_equivalent_to(rows, 2)
    assert got_state.kept.sharding.is_fully_replicated
