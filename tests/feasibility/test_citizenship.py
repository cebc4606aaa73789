"""Living with the other transformations of Optax."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from feasible_jax.alignment import loss_change
from feasible_jax.feasibility import (
    accumulate_evidence,
    budget,
    certify_updates,
    coordinatewise,
    feasible_updates,
    groupwise,
    projection,
    random_mask,
)

PARAMS = {"body": {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}, "head": jnp.ones(2)}


def stack(seed, offset=0.0, size=8, params=PARAMS):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda p: jnp.asarray(offset + rng.normal(size=(size, *p.shape)), jnp.float32), params
    )


def mean_of(grads):
    return jax.tree.map(lambda g: g.mean(0), grads)


def get(state, name="kept"):
    return optax.tree_utils.tree_get(state, name)


def signs_agree(updates, retain):
    """No kept coordinate raises the retain loss of this batch, to first order."""
    pairs = zip(jax.tree.leaves(updates), jax.tree.leaves(mean_of(retain)), strict=True)
    return all(bool(jnp.all(u * g <= 0)) for u, g in pairs)


def test_chain_and_named_chain():
    retain = stack(0, 0.5)
    plain = optax.chain(optax.sgd(0.1), feasible_updates("retain"))
    named = optax.named_chain(("sgd", optax.sgd(0.1)), ("feasible", feasible_updates("retain")))
    results = []
    for tx in (plain, named):
        updates, state = jax.jit(tx.update)(mean_of(retain), tx.init(PARAMS), PARAMS, retain=retain)
        assert 0 < get(state) < 1
        assert get(state, "step") == 1
        assert get(state, "pass_rate")["retain"] == get(state)
        results.append(updates)
    chex.assert_trees_all_equal(*results)
    assert state["feasible"].kept == get(state)


def slippery(mask_last):
    """Momentum and weight decay, before the mask or after it."""
    base = optax.chain(optax.trace(0.9), optax.add_decayed_weights(0.1), optax.scale(-0.1))
    mask = feasible_updates("retain", confidence=0.99)
    return optax.chain(base, mask) if mask_last else optax.chain(mask, base)


@pytest.mark.parametrize("mask_last", [True, False])
def test_neither_momentum_nor_weight_decay_slips_past_a_mask_chained_last(mask_last):
    tx = slippery(mask_last)
    params, state, update = PARAMS, tx.init(PARAMS), jax.jit(tx.update)
    steady = True
    for seed in range(6):
        retain = stack(seed, 0.8 if seed % 2 else -0.8)
        updates, state = update(mean_of(stack(seed + 50, 0.5)), state, params, retain=retain)
        steady &= signs_agree(updates, retain)
        moved = sum(int(jnp.sum(u != 0)) for u in jax.tree.leaves(updates))
        steady &= moved == round(float(get(state)) * 11)
        params = optax.apply_updates(params, updates)
    assert steady == mask_last  # the wrong order does let them pass, so this test can fail


@pytest.mark.parametrize("base", [optax.adamw(0.1), optax.sgd(0.1, 0.9)])
def test_any_base_optimizer(base):
    tx = optax.chain(base, feasible_updates("retain", "forget", confidence=0.6))
    state, update = tx.init(PARAMS), jax.jit(tx.update)
    for seed in range(3):
        retain, forget = stack(seed), stack(seed + 9)
        with jax.numpy_dtype_promotion("standard"):  # Optax's own sums need it
            updates, state = update(mean_of(retain), state, PARAMS, retain=retain, forget=forget)
        assert signs_agree(updates, retain)
        assert signs_agree(jax.tree.map(jnp.negative, updates), forget)
    assert update._cache_size() == 1


@pytest.mark.parametrize(
    "rule",
    [
        coordinatewise,
        lambda: groupwise("row"),
        lambda: coordinatewise(curvature="adaptive", evidence_decay=0.9),
        lambda: coordinatewise(soft=True),
        lambda: budget(curvature=0.1),
        projection,
    ],
)
def test_masked_leaves_pass_unchanged_and_evidence_may_cover_them(rule):
    tx = optax.masked(
        feasible_updates("retain", rule=rule()), {"body": {"w": True, "b": False}, "head": False}
    )
    grads = mean_of(stack(1, 1.0))
    retain = stack(0, 2.0)
    state = tx.init(PARAMS)
    updates, after = jax.jit(tx.update)(grads, state, PARAMS, retain=retain)
    chex.assert_trees_all_equal(updates["head"], grads["head"])
    chex.assert_trees_all_equal(updates["body"]["b"], grads["body"]["b"])
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    alone = feasible_updates("retain", rule=rule())
    body, stacks = grads["body"]["w"], retain["body"]["w"]
    want, _ = jax.jit(alone.update)(body, alone.init(body), PARAMS["body"]["w"], retain=stacks)
    chex.assert_trees_all_equal(updates["body"]["w"], want)
    assert not np.array_equal(want, body)


def test_a_mask_over_a_whole_subtree():
    tx = optax.masked(feasible_updates("retain"), {"body": False, "head": True})
    grads = mean_of(stack(1))
    updates, _ = jax.jit(tx.update)(grads, tx.init(PARAMS), PARAMS, retain=stack(0))
    chex.assert_trees_all_equal(updates["body"], grads["body"])


def test_partition_gives_each_part_its_own_rule():
    tx = optax.partition(
        {
            "strict": optax.chain(optax.sgd(0.1), feasible_updates("retain", confidence=0.99)),
            "rows": optax.chain(optax.sgd(0.1), feasible_updates("retain", rule=groupwise("row"))),
            "frozen": optax.set_to_zero(),
        },
        {"body": {"w": "strict", "b": "frozen"}, "head": "rows"},
    )
    retain = stack(0, 1.0)
    state, update = tx.init(PARAMS), jax.jit(tx.update)
    for _ in range(2):
        updates, state = update(mean_of(retain), state, PARAMS, retain=retain)
    chex.assert_trees_all_equal(updates["body"]["b"], jnp.zeros(3))
    assert signs_agree(updates, retain)
    assert bool(jnp.any(updates["body"]["w"] != 0))
    assert bool(jnp.any(updates["head"] != 0))
    assert update._cache_size() == 1


@pytest.mark.parametrize("confidence", [0.9, optax.linear_schedule(0.9, 0.6, 2)])
def test_inject_hyperparams_traces_the_confidence(confidence):
    tx = optax.inject_hyperparams(feasible_updates)(decrease="retain", confidence=confidence)
    state, update = tx.init(PARAMS), jax.jit(tx.update)
    grads, retain = jax.tree.map(jnp.negative, mean_of(stack(0, 0.4))), stack(0, 0.4)
    kept = []
    for _ in range(3):
        _, state = update(grads, state, PARAMS, retain=retain)
        kept.append(float(state.inner_state.kept))
    np.testing.assert_allclose(
        state.inner_state.confidence, state.hyperparams["confidence"], rtol=1e-6
    )
    assert update._cache_size() == 1
    assert kept[0] <= kept[-1]
    state.hyperparams["confidence"] = jnp.float32(0.999)
    if isinstance(confidence, float):
        _, state = update(grads, state, PARAMS, retain=retain)
        assert update._cache_size() == 1
        assert float(state.inner_state.kept) < kept[0]


def test_none_leaves_are_no_parameters():
    updates = {"a": -jnp.ones(2), "frozen": None, "deep": [None, -jnp.ones(())]}
    retain = {"a": jnp.ones((4, 2)), "frozen": None, "deep": [None, jnp.ones(4)]}
    tx = optax.chain(optax.sgd(1.0), feasible_updates("retain"))
    state = tx.init(updates)
    grads = jax.tree.map(jnp.negative, updates)
    got, after = jax.jit(tx.update)(grads, state, updates, retain=retain)
    chex.assert_trees_all_equal(got, updates)
    chex.assert_trees_all_equal_structs(after, state)
    # Evidence for what is left out may come along.
    retain["frozen"] = jnp.ones((4, 7))
    tx.update(grads, state, updates, retain=retain)


def test_apply_if_finite_around_and_bad_evidence_inside():
    tx = optax.apply_if_finite(optax.chain(optax.sgd(0.1), feasible_updates("retain")), 3)
    retain = stack(0, 3.0)
    grads = mean_of(retain)
    state, update = tx.init(PARAMS), jax.jit(tx.update)
    bad = jax.tree.map(lambda g: g.at[2].set(jnp.nan), retain)
    updates, state = update(grads, state, PARAMS, retain=bad)
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, PARAMS))
    updates, state = update(grads, state, PARAMS, retain=retain)
    assert get(state) > 0.5
    poisoned = {**grads, "head": grads["head"].at[0].set(jnp.nan)}
    updates, state = update(poisoned, state, PARAMS, retain=retain)
    chex.assert_tree_all_finite((updates, get(state, "kept")))


@pytest.mark.parametrize(
    ("wrap", "waits"),
    [(optax.conditionally_mask, 0.0), (optax.conditionally_transform, 1.0)],
)
def test_at_certain_steps_alone(wrap, waits):
    tx = wrap(feasible_updates("retain", confidence=0.99), lambda step: step % 2 == 0)
    down = jax.tree.map(jnp.negative, mean_of(stack(0, 0.8)))
    state, update = tx.init(PARAMS), jax.jit(tx.update)
    masked, state = update(down, state, PARAMS, retain=stack(0, 0.8))
    assert 0 < get(state) < 1
    updates, after = update(down, state, PARAMS, retain=stack(1, 0.8))
    chex.assert_trees_all_equal(updates, jax.tree.map(lambda u: waits * u, down))
    chex.assert_trees_all_equal(after.inner_state, state.inner_state)
    updates, state = update(down, after, PARAMS, retain=stack(0, 0.8))
    chex.assert_trees_all_equal(updates, masked)
    assert get(state.inner_state, "step") == 2
    assert update._cache_size() == 1


def knowing(tx, **evidence):
    """What does not hand on extra arguments, such as lookahead, takes them closed over."""
    return optax.GradientTransformation(
        tx.init, lambda updates, state, params=None: tx.update(updates, state, params, **evidence)
    )


def test_lookahead_with_evidence_closed_over():
    tx = optax.chain(optax.sgd(0.1), feasible_updates("retain"))

    def lookahead(retain):
        return optax.lookahead(knowing(tx, retain=retain), sync_period=2, slow_step_size=0.5)

    @jax.jit
    def step(params, state, retain):
        updates, state = lookahead(retain).update(mean_of(retain), state, params)
        return optax.apply_updates(params, updates), state

    start = params = optax.LookaheadParams.init_synced(PARAMS)
    state, alone, expected = lookahead(None).init(params), tx.init(PARAMS), PARAMS
    for seed in range(2):
        retain = stack(seed, 0.5)
        chex.assert_trees_all_equal(params.slow, start.slow)
        with jax.numpy_dtype_promotion("standard"):  # Optax's own sums need it
            params, state = step(params, state, retain)
        updates, alone = jax.jit(tx.update)(mean_of(retain), alone, PARAMS, retain=retain)
        expected = optax.apply_updates(expected, updates)
        assert get(state) == get(alone)
    halfway = jax.tree.map(lambda slow, fast: slow + 0.5 * (fast - slow), start.slow, expected)
    chex.assert_trees_all_close(params.slow, halfway, rtol=1e-6)
    chex.assert_trees_all_close(params.fast, halfway, rtol=1e-6)
    assert step._cache_size() == 1


def test_what_optax_finds_by_name_in_a_state():
    tx = optax.named_chain(
        ("base", optax.adam(0.1)),
        ("mask", optax.masked(feasible_updates("retain"), True)),
        ("certificate", optax.apply_if_finite(certify_updates("retain"), 3)),
    )
    state = tx.init(PARAMS)
    for name in ("kept", "kept_per_leaf", "pass_rate", "accepted", "scale", "p_value", "spent"):
        assert optax.tree.get(state, name, "missing") != "missing"
    with pytest.raises(KeyError, match="step"):  # of both
        optax.tree.get(state, "step")

    def of_mask(path, value):
        return getattr(path[-1], "tuple_name", None) == "FeasibleUpdatesState"

    state = optax.tree.set(state, of_mask, step=jnp.int32(7))
    assert optax.tree.get(state, "step", filtering=of_mask) == 7
    assert state["mask"].inner_state.step == 7
    assert state["certificate"].inner_state.step == 0


def test_multi_steps_sees_the_last_microbatch():
    """Its gradient is the mean of both; its evidence is the last one's alone."""
    inner = optax.chain(optax.sgd(0.1), feasible_updates("retain"))
    tx = optax.MultiSteps(inner, 2)
    state, update = tx.init(PARAMS), jax.jit(tx.update)
    first, last = stack(0, 2.0), stack(1, -1.0)
    for retain in (first, last):
        with jax.numpy_dtype_promotion("standard"):  # Optax's own sums need it
            updates, state = update(mean_of(retain), state, PARAMS, retain=retain)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, mean_of(first), mean_of(last))
    results = {}
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, last)
    for name, evidence in {"first": first, "last": last, "both": both}.items():
        results[name], _ = inner.update(mean, inner.init(PARAMS), PARAMS, retain=evidence)
    chex.assert_trees_all_close(updates, results["last"], rtol=1e-5)
    for other in ("first", "both"):
        assert any(
            not np.allclose(a, b)
            for a, b in zip(jax.tree.leaves(updates), jax.tree.leaves(results[other]), strict=True)
        )


def squares(params, x):
    return x * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))


def certified():
    return optax.chain(optax.sgd(0.1), certify_updates("retain", test="normal"))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: tx,
        lambda tx: optax.apply_if_finite(tx, 3),
        lambda tx: optax.MultiSteps(tx, 1),
        lambda tx: optax.named_chain(("first", optax.identity()), ("last", tx)),
        lambda tx: optax.chain(optax.trace(0.0), tx),
    ],
)
def test_a_certificate_inside_other_transformations(wrap):
    tx = wrap(certified())
    state, update = tx.init(PARAMS), jax.jit(tx.update)
    change = loss_change(squares, 1 + 0.1 * jnp.arange(32.0))
    for direction in (1, -1, 1):
        grads = jax.tree.map(lambda p, d=direction: d * p, PARAMS)
        with jax.numpy_dtype_promotion("standard"):  # Optax's own sums need it
            updates, state = update(grads, state, PARAMS, retain_change=change)
        downhill = any(bool(jnp.any(u != 0)) for u in jax.tree.leaves(updates))
        assert downhill == bool(get(state, "accepted")) == (direction > 0)
    assert get(state, "abstentions") == 1
    assert update._cache_size() == 1


def test_the_confidence_of_a_certificate_can_be_injected():
    inject = optax.inject_hyperparams(certify_updates, static_args=("backtrack", "test"))
    tx = inject(decrease="retain", confidence=0.9, test="normal", backtrack=0)
    state, update = tx.init(PARAMS), jax.jit(tx.update)
    change = jax.tree_util.Partial(lambda params, updates: jnp.arange(32.0) - 19.0)  # p = 0.016
    for confidence, accepted in ((0.9, True), (0.99, False)):
        state.hyperparams["confidence"] = jnp.float32(confidence)
        _, state = update(PARAMS, state, PARAMS, retain_change=change)
        assert bool(get(state, "accepted")) == accepted


def test_inside_scan_and_vmap():
    tx = optax.chain(optax.sgd(0.1), feasible_updates("retain"))
    batches = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[stack(i, 0.5) for i in range(4)])

    def step(carry, retain):
        params, state = carry
        updates, state = tx.update(mean_of(retain), state, params, retain=retain)
        return (optax.apply_updates(params, updates), state), get(state)

    (_, state), kept = jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), batches)
    assert get(state, "step") == 4
    assert kept.shape == (4,)
    first = jax.jit(lambda retain: step((PARAMS, tx.init(PARAMS)), retain)[1])
    alone = [first(jax.tree.map(lambda b, i=i: b[i], batches)) for i in range(4)]
    together = jax.vmap(first)(batches)
    np.testing.assert_allclose(together, jnp.stack(alone))


def test_state_survives_flattening_and_a_round_trip_through_numpy():
    tx = feasible_updates("retain")
    state = tx.init(PARAMS)
    leaves, treedef = jax.tree.flatten(state)
    restored = treedef.unflatten([jnp.asarray(np.asarray(leaf)) for leaf in leaves])
    _, after = jax.jit(tx.update)(mean_of(stack(0)), restored, retain=stack(1))
    assert jax.tree.structure(after) == treedef


def test_a_state_may_be_donated():
    tx = accumulate_evidence(
        optax.chain(
            feasible_updates("retain", rule=coordinatewise("adaptive", evidence_decay=0.9)),
            certify_updates("retain", test="normal", backtrack=0),
        ),
        every_k_schedule=1,
    )
    update = jax.jit(tx.update, donate_argnames=("updates", "state"))
    state = tx.init(PARAMS)
    buffers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)]
    assert len(set(buffers)) == len(buffers)  # accelerators refuse to donate one twice
    change = loss_change(squares, 1 + 0.1 * jnp.arange(32.0))
    for seed in range(2):
        old = state
        updates = mean_of(stack(seed))
        _, state = update(updates, state, PARAMS, retain=stack(seed), retain_change=change)
    assert state.gradient_step == 2
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old))


SPREAD = 1 + 0.1 * jnp.arange(32.0)


def norm(params, x):
    leaves = jax.tree.leaves(params)
    return x * sum((jnp.sum(jnp.abs(p).astype(jnp.float32) ** 2) for p in leaves), jnp.float32(0))


@pytest.mark.parametrize(
    "params",
    [
        {"half": jnp.ones(3, jnp.bfloat16), "none": None, "whole": jnp.ones((2, 2))},
        jnp.ones((), jnp.float16),
        {"complex": jnp.array([1.0 + 2.0j, -1.0j]), "real": jnp.ones(2)},
        {"none": None, "empty": jnp.zeros((0, 2))},
        {},
    ],
)
def test_certificates_of_trees_of_every_kind(params):
    tx = certify_updates("retain", test="normal", backtrack=1)
    state, update = tx.init(params), jax.jit(tx.update)
    chex.assert_trees_all_equal(tx.init(jax.eval_shape(lambda: params)), state)
    change = loss_change(norm, SPREAD)
    # The loss at 1 - s is less than at 1 for s below 2: of 3 the half, of 5 nothing.
    for size, scale in ((0.5, 1.0), (3.0, 0.5), (5.0, 0.0)):
        step = jax.tree.map(lambda p, s=size: (-s * p).astype(p.dtype), params)
        got, state = update(step, state, params, retain_change=change)
        something = any(leaf.size for leaf in jax.tree.leaves(params))
        assert float(state.scale) == (scale if something else 0)
        wanted = jax.tree.map(lambda u, s=scale: (u * s).astype(u.dtype), step)
        chex.assert_trees_all_equal(got, wanted)
        chex.assert_trees_all_equal_shapes_and_dtypes(got, params)
    assert update._cache_size() == 1


def test_masks_of_complex_parameters_are_refused_by_name():
    params = {"real": jnp.ones(2), "phase": jnp.ones(2, jnp.complex64)}
    retain = {"real": jnp.ones((4, 2)), "phase": jnp.ones((4, 2))}
    tx = feasible_updates("retain")
    with pytest.raises(TypeError, match=r"params at 'phase' are complex.*two real arrays"):
        tx.init(params)
    state = tx.init(retain)
    with pytest.raises(TypeError, match=r"updates at 'phase' are complex \(complex64\)"):
        tx.update(params, state, retain=retain)
    # What is masked away, or drawn without looking, may be complex.
    hidden = optax.masked(tx, {"real": True, "phase": False})
    updates, _ = jax.jit(hidden.update)(params, hidden.init(params), params, retain=retain)
    chex.assert_trees_all_equal(updates["phase"], params["phase"])
    drawn = feasible_updates("retain", rule=random_mask(0.5))
    updates, state = jax.jit(drawn.update)(params, drawn.init(params))
    assert updates["phase"].dtype == jnp.complex64
    assert set(np.unique(updates["phase"])) <= {0, 1}


def test_what_is_accumulated_may_not_be_complex_either():
    params = {"real": jnp.ones(2), "phase": jnp.ones(2, jnp.complex64)}
    for inner in (optax.sgd(0.1), certify_updates("retain")):
        tx = accumulate_evidence(inner, 2)
        with pytest.raises(TypeError, match=r"params at 'phase' are complex.*two real arrays"):
            tx.init(params)
    state = accumulate_evidence(optax.sgd(0.1), 2).init(jax.tree.map(jnp.real, params))
    with pytest.raises(TypeError, match=r"updates at 'phase' are complex"):
        accumulate_evidence(optax.sgd(0.1), 2).update(params, state, params)


@pytest.mark.parametrize(
    "tx",
    [
        feasible_updates("retain"),
        feasible_updates("retain", rule=random_mask(0.5)),
        certify_updates("retain"),
        optax.apply_if_finite(feasible_updates("retain"), 3),
        accumulate_evidence(feasible_updates("retain"), 1),
        optax.masked(feasible_updates("retain"), True),
    ],
)
def test_per_example_gradients_are_evidence_and_no_update(tx):
    retain = stack(0)
    change = loss_change(squares, jnp.ones(8))
    with pytest.raises(ValueError, match=r"updates at 'body/b' have shape \(8, 3\).*as evidence"):
        tx.update(retain, tx.init(PARAMS), PARAMS, retain=retain, retain_change=change)


@pytest.mark.parametrize(
    "factory",
    [
        lambda confidence, number: feasible_updates(
            "retain", confidence=confidence, rule=coordinatewise(curvature=number)
        ),
        lambda confidence, number: feasible_updates(
            "retain", confidence=confidence, rule=budget(tau=number)
        ),
        lambda confidence, number: feasible_updates(
            "retain", confidence=confidence, rule=random_mask(number)
        ),
        lambda confidence, number: feasible_updates(
            "retain",
            confidence=confidence,
            rule=coordinatewise(evidence_decay=0.5, curvature=number),
        ),
    ],
)
def test_numbers_of_rules_can_be_injected(factory):
    tx = optax.inject_hyperparams(factory)(confidence=0.9, number=0.25)
    retain = stack(0, 0.5)
    updates = jax.tree.map(lambda g: -g.mean(0), retain)
    got, state = jax.jit(tx.update)(updates, tx.init(PARAMS), PARAMS, retain=retain)
    plain = factory(0.9, 0.25)
    want, _ = plain.update(updates, plain.init(PARAMS), PARAMS, retain=retain)
    chex.assert_trees_all_close(got, want, rtol=1e-5)
    assert state.hyperparams["number"] == 0.25
