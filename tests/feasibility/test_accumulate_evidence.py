import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from feasible_jax.alignment import loss_change
from feasible_jax.feasibility import (
    Constraint,
    Requirements,
    accumulate_evidence,
    certify_updates,
    coordinatewise,
    feasible_updates,
    groupwise,
    random_mask,
    sign_agreement,
)
from feasible_jax.moments import (
    GradientMoments,
    grad_moments,
    moments_from_per_example,
    reduce_moments,
)

SHAPES = {"w": (3, 2), "deep": [()]}
PARAMS = jax.tree.map(jnp.zeros, SHAPES, is_leaf=lambda node: isinstance(node, tuple))


def stack(seed, size, params=PARAMS, offset=0.3):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda p: jnp.asarray(offset + rng.normal(size=(size, *p.shape)), p.dtype), params
    )


def mean_of(stacks):
    return jax.tree.map(lambda g: g.mean(0, dtype=g.dtype), stacks)


def part(stacks, rows):
    return jax.tree.map(lambda g: g[rows], stacks)


def spy(needs="moments"):
    """Keeps what it was shown: the updates, and the evidence."""
    requires = Requirements((Constraint("retain", 1.0),), needs)

    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return requires, zeros, GradientMoments(zeros, zeros, jnp.zeros(()))

    def update(updates, state, params=None, *, retain):
        return updates, (state[0], updates, retain)

    return optax.GradientTransformationExtraArgs(init, update)


def run(tx, calls, params=PARAMS, state=None):
    """The updates of each call, and the state after the last."""
    state, update = tx.init(params) if state is None else state, jax.jit(tx.update)
    seen = []
    for gradient, evidence in calls:
        updates, state = update(gradient, state, params, **evidence)
        seen.append(updates)
    assert update._cache_size() == 1
    return seen, state


moments_of = jax.jit(moments_from_per_example)


def padded(rows):
    """The same moments, of a batch with padding."""
    rows = jax.tree.map(lambda g: jnp.concatenate([g, jnp.full_like(g[:3], jnp.nan)]), rows)
    size = jax.tree.leaves(rows)[0].shape[0]
    return moments_of(rows, jnp.arange(size) < size - 3)


ROWS = [slice(0, 9), slice(9, 10), slice(10, 24)]
EQUAL = [slice(0, 8), slice(8, 16), slice(16, 24)]


@pytest.mark.parametrize(
    ("kind", "rows"), [(moments_of, ROWS), (padded, EQUAL), (lambda batch: batch, EQUAL)]
)
def test_what_is_shown_is_one_large_batch(kind, rows):
    everything = stack(0, 24)
    calls = [(mean_of(part(everything, r)), {"retain": kind(part(everything, r))}) for r in rows]
    seen, state = run(accumulate_evidence(spy(), 3), calls)
    _, gradient, found = state.inner_opt_state
    assert float(found.count) == 24
    for leaf, mean, variance in zip(
        *map(jax.tree.leaves, (everything, found.mean, found.variance)), strict=True
    ):
        wide = np.asarray(leaf, np.float64)
        np.testing.assert_allclose(mean, wide.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(variance, wide.var(0, ddof=1), rtol=1e-5)
    average = jax.tree.map(lambda *g: np.mean(g, 0, np.float64), *(g for g, _ in calls))
    chex.assert_trees_all_close(gradient, average, rtol=1e-5)
    chex.assert_trees_all_equal(seen[2], gradient)
    for zero in seen[:2]:
        chex.assert_trees_all_equal(zero, PARAMS)


def test_the_mask_is_that_of_one_large_batch():
    def inner():
        return optax.chain(optax.sgd(0.1), feasible_updates("retain", "forget"))

    retain, forget = stack(0, 32), stack(1, 32, offset=-0.3)
    rows = [slice(i, i + 8) for i in range(0, 32, 8)]
    calls = [
        (mean_of(part(retain, r)), {"retain": part(retain, r), "forget": part(forget, r)})
        for r in rows
    ]
    seen, state = run(accumulate_evidence(inner(), 4), calls)
    (want,), large = run(inner(), [(mean_of(retain), {"retain": retain, "forget": forget})])
    chex.assert_trees_all_close(seen[-1], want, rtol=1e-5)
    assert 0 < float(large[-1].kept) < 1
    assert optax.tree.get(state, "kept") == large[-1].kept
    (alone,), _ = run(inner(), calls[-1:])
    assert jax.tree.map(jnp.count_nonzero, alone) != jax.tree.map(jnp.count_nonzero, want)


def test_without_evidence_it_is_multi_steps():
    calls = [(mean_of(stack(seed, 4)), {}) for seed in range(7)]
    inner = optax.chain(optax.trace(0.9), optax.scale(-0.1))
    seen, state = run(accumulate_evidence(inner, 3), calls)
    with jax.numpy_dtype_promotion("standard"):  # Optax's own sums need it
        want, multi = run(optax.MultiSteps(inner, 3), calls)
    chex.assert_trees_all_close(seen, want, rtol=1e-6)
    chex.assert_trees_all_close(state.inner_opt_state, multi.inner_opt_state, rtol=1e-6)
    assert (int(state.mini_step), int(state.gradient_step)) == (1, 2)
    assert optax.tree.get(state, "mini_step") == optax.tree.get(multi, "mini_step")


def test_nothing_of_one_update_is_left_in_the_next():
    def calls(seed):
        return [
            (mean_of(batch), {"retain": batch}) for batch in map(stack, (seed, seed + 1), (8, 8))
        ]

    tx = accumulate_evidence(spy(), 2)
    bad = [
        (g, {"retain": jax.tree.map(lambda r: r.at[2].set(jnp.nan), e["retain"])})
        for g, e in calls(0)
    ]
    _, state = run(tx, calls(4))
    for first in (calls(0), bad):
        _, after = run(tx, first)
        _, again = run(tx, calls(4), state=after)
        chex.assert_trees_all_equal(again.inner_opt_state, state.inner_opt_state)
    assert not any(jnp.any(leaf) for leaf in jax.tree.leaves((after.acc_grads, after.evidence)))


def test_a_bad_microbatch_makes_an_infeasible_update():
    good = stack(0, 8, offset=3.0)
    bad = jax.tree.map(lambda g: g.at[1].set(jnp.inf), good)
    tx = accumulate_evidence(optax.chain(optax.sgd(0.1), feasible_updates("retain")), 2)
    calls = [(mean_of(good), {"retain": batch}) for batch in (bad, good, good, good)]
    seen, state = run(tx, calls)
    chex.assert_trees_all_equal(seen[1], PARAMS)
    assert all(jnp.all(u < 0) for u in jax.tree.leaves(seen[3]))
    chex.assert_tree_all_finite(state)


def test_the_number_of_microbatches_may_follow_a_schedule():
    tx = accumulate_evidence(optax.sgd(1.0), lambda step: 1 + step)
    seen, state = run(tx, [(jax.tree.map(jnp.ones_like, PARAMS), {})] * 7)
    assert [bool(u["deep"][0] != 0) for u in seen] == [True, False, True, False, False, True, False]
    assert state.gradient_step == 3
    inject = optax.inject_hyperparams(accumulate_evidence)
    tx = inject(inner=optax.sgd(1.0), every_k_schedule=2)
    seen, _ = run(tx, [(jax.tree.map(jnp.ones_like, PARAMS), {})] * 2)
    assert [bool(u["deep"][0] != 0) for u in seen] == [False, True]


@pytest.mark.parametrize("every", [0, -1, 2.0, True, None, "4"])
def test_what_is_no_number_of_microbatches_is_refused(every):
    with pytest.raises(ValueError, match=r"every_k_schedule=.*whole number"):
        accumulate_evidence(optax.sgd(0.1), every)


def squares(params, x):
    return x * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))


def test_a_certificate_is_shown_the_last_change_and_no_other_is_evaluated():
    evaluated = []
    tx = accumulate_evidence(
        optax.chain(optax.sgd(0.1), certify_updates("retain", test="normal", backtrack=0)), 3
    )
    params = jax.tree.map(jnp.ones_like, PARAMS)

    def loss(params, x):
        jax.debug.callback(lambda x: evaluated.append(float(x)), x)
        return squares(params, x)

    up, down = -1 - 0.1 * jnp.arange(8.0), 1 + 0.1 * jnp.arange(8.0)
    for batches, accepted in (((up, up, down), True), ((down, down, up), False)):
        calls = [(params, {"retain_change": loss_change(loss, batch)}) for batch in batches]
        seen, state = run(tx, calls, params)
        jax.effects_barrier()
        assert bool(optax.tree.get(state, "accepted")) == accepted
        assert any(jnp.any(u) for u in jax.tree.leaves(seen[2])) == accepted
        assert set(evaluated) == set(np.asarray(batches[2]).tolist())
        assert int(optax.tree.get(state, "abstentions")) == (not accepted)
        evaluated.clear()


def test_rules_that_cannot_do_with_moments_are_refused_before_any_work():
    inner = optax.chain(optax.sgd(0.1), feasible_updates("retain", rule=groupwise("row")))
    with pytest.raises(ValueError, match=r"'retain'.*per-example.*groupwise.*coordinatewise"):
        accumulate_evidence(inner, 2).init(PARAMS)
    parts = optax.partition({"a": inner, "b": feasible_updates("retain")}, {"w": "a", "deep": "b"})
    with pytest.raises(ValueError, match=r"'retain'.*per-example"):
        accumulate_evidence(parts, 2).init(PARAMS)


def test_rules_that_need_less_get_it():
    batch = stack(0, 8, offset=3.0)
    unknown = jax.tree.map(lambda p: jnp.full(p.shape, jnp.inf), PARAMS)
    means = GradientMoments(mean_of(batch), unknown, jnp.float32(8))
    down = jax.tree.map(jnp.negative, mean_of(batch))
    for evidence in (means, batch):
        tx = accumulate_evidence(feasible_updates("retain", rule=sign_agreement()), 2)
        _, state = run(tx, [(down, {"retain": evidence})] * 2)
        assert optax.tree.get(state, "kept") == 1
    tx = accumulate_evidence(feasible_updates("retain", rule=random_mask(0.5)), 2)
    _, state = run(tx, [(mean_of(batch), {})] * 2)
    assert 0 < optax.tree.get(state, "kept") < 1
    assert state.evidence == {}


def test_what_is_missing_or_does_not_fit_is_said_at_the_first_microbatch():
    tx = accumulate_evidence(feasible_updates("retain"), 2)
    state = tx.init(PARAMS)
    with pytest.raises(TypeError, match=r"missing the evidence 'retain'"):
        tx.update(PARAMS, state)
    with pytest.raises(ValueError, match=r"'retain'.*'w'.*\(4, 5, 2\).*\(3, 2\)"):
        tx.update(PARAMS, state, retain={**stack(0, 4), "w": jnp.ones((4, 5, 2))})


@pytest.mark.parametrize(
    "params",
    [
        {"half": jnp.ones(3, jnp.bfloat16), "frozen": None, "wide": np.ones((2, 2))},
        {},
        jnp.ones((), jnp.float16),
        {"masked": optax.MaskedNode(), "here": jnp.ones(2)},
    ],
)
def test_trees_of_every_kind_keep_their_types(params):
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, params)
        inner = feasible_updates("retain", rule=coordinatewise(evidence_decay=0.9))
        tx = accumulate_evidence(inner, 2)
        state = tx.init(params)
        chex.assert_trees_all_equal(tx.init(jax.eval_shape(lambda: params)), state)
        retain = jax.tree.map(lambda p: jnp.ones((4, *p.shape), p.dtype), params)
        for _ in range(2):
            updates, after = jax.jit(tx.update)(params, state, params, retain=retain)
            for new, old in ((updates, params), (after, state)):
                assert jax.eval_shape(lambda t=new: t) == jax.eval_shape(lambda t=old: t)
            state = after


def test_sums_are_wider_than_the_updates():
    """256 + 1 is 256 in bfloat16, and 256 ones after 256 would be lost."""
    tx = accumulate_evidence(optax.identity(), 256)
    gradients = jnp.ones(256, jnp.bfloat16).at[0].set(256)
    state = tx.init(gradients[0])

    def step(state, gradient):
        updates, state = tx.update(gradient, state)
        return state, updates

    _, seen = jax.jit(lambda: jax.lax.scan(step, state, gradients))()
    assert seen.dtype == jnp.bfloat16
    assert float(seen[-1]) == pytest.approx(511 / 256, rel=2**-8)


def test_around_and_inside_other_transformations():
    batch = stack(0, 8, offset=3.0)
    mask = {"w": True, "deep": False}
    calls = [(mean_of(batch), {"retain": batch})] * 2
    chain = optax.chain(optax.sgd(0.1), feasible_updates("retain"))
    (_, want), _ = run(optax.masked(chain, mask), calls[:1] * 2)
    for tx in (
        optax.masked(accumulate_evidence(chain, 2), mask),
        accumulate_evidence(optax.masked(chain, mask), 2),
        optax.apply_if_finite(accumulate_evidence(optax.masked(chain, mask), 2), 3),
    ):
        (first, last), _ = run(tx, calls)
        chex.assert_trees_all_close(last["w"], want["w"])
        assert not jnp.any(first["w"])


def test_inside_shard_map_on_evidence_of_all_shards():
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    tx = accumulate_evidence(optax.chain(optax.sgd(0.1), feasible_updates("retain")), 2)
    moments = grad_moments(lambda w, x: 0.5 * jnp.sum((w - x) ** 2), "vmap")
    x = jax.random.normal(jax.random.key(0), (2, 16, 5))
    w = jnp.full(5, 0.5)

    def shard(x):
        state = tx.init(w)
        for batch in x:
            found = reduce_moments(moments(w, batch), "batch")
            updates, state = tx.update(found.mean, state, w, retain=found)
        return updates, optax.tree.get(state, "kept")

    sharded = jax.shard_map(shard, mesh=mesh, in_specs=P(None, "batch"), out_specs=P())
    updates, kept = jax.jit(sharded)(x)
    whole = jax.jit(moments)(w, x.reshape(32, 5))
    inner = optax.chain(optax.sgd(0.1), feasible_updates("retain"))
    (want,), state = run(inner, [(whole.mean, {"retain": whole})], w)
    np.testing.assert_allclose(updates, want, rtol=1e-5)
    assert 0 < kept == state[-1].kept
