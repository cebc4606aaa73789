import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from feasible_jax.alignment import (
    MeanTest,
    alpha_spending,
    directional_derivatives,
    loss_change,
    online_fdr,
    resolve_mean_test,
)
from feasible_jax.feasibility import certify_updates, feasible_updates

PARAMS = {"w": jnp.ones(2), "b": jnp.ones(())}
UPDATES = jax.tree.map(lambda p: 0.5 * p, PARAMS)
# Reads its p-value off the first change: what the transformation does with it is all that is left.
SAYS = MeanTest("says", lambda changes, weights, population_size: jnp.abs(changes[0]))


# The cheapest of all to compile, for what does not depend on the test.
SIMPLE = certify_updates("retain", test="normal", backtrack=0)


def size_of(updates):
    return jnp.max(jnp.stack([jnp.max(jnp.abs(u)) for u in jax.tree.leaves(updates)]))


def says(*p_values):
    """Changes whose p-value is the first at the whole step, the second at its half, and so on."""

    def change(params, updates):
        halved = jnp.round(-jnp.log2(size_of(updates) / 0.5)).astype(jnp.int32)
        return jnp.full(4, jnp.asarray(p_values, jnp.float32)[halved])

    return change


def certify(updates=UPDATES, params=PARAMS, tx=None, state=None, **evidence):
    tx = certify_updates("retain", test=SAYS) if tx is None else tx
    state = tx.init(PARAMS) if state is None else state
    return tx.update(updates, state, params, **evidence)


@pytest.mark.parametrize(
    ("p_values", "scale", "tests"),
    [
        ((0.0249, 1, 1, 1), 1.0, 1),
        ((0.0251, 0.0124, 1, 1), 0.5, 2),
        ((0.0251, 0.0126, 0.0062, 1), 0.25, 3),
        ((0.0251, 0.0126, 0.0063, 0.0062), 0.125, 4),
        ((0.0251, 0.0126, 0.0063, 0.0063), 0.0, 4),
        ((np.nan, np.nan, np.nan, np.nan), 0.0, 4),
        ((1, 0, 0, 0), 0.5, 2),
    ],
)
def test_the_longest_step_that_passes_is_taken(p_values, scale, tests):
    got, state = certify(retain_change=says(*p_values))
    chex.assert_trees_all_equal(got, jax.tree.map(lambda u: scale * u, UPDATES))
    assert (float(state.scale), bool(state.accepted)) == (scale, scale > 0)
    assert (int(state.tests), int(state.abstentions)) == (tests, scale == 0)
    np.testing.assert_allclose(state.p_value["retain"], p_values[tests - 1])
    np.testing.assert_allclose([state.level, state.spent], 0.05, rtol=1e-5)


@pytest.mark.parametrize("backtrack", [0, 1, 3, 6])
def test_the_scales_share_the_level_and_no_more(backtrack):
    """The largest p-value that passes at each scale alone, found by bisection."""
    tx = certify_updates("retain", test=SAYS, backtrack=backtrack, confidence=0.8)
    passes = jax.jit(lambda p_values: certify(tx=tx, retain_change=says(*p_values))[1].accepted)
    levels = []
    for scale in range(backtrack + 1):
        low, high = 0.0, 1.0
        while high - low > 1e-4:
            middle = (low + high) / 2
            p_values = jnp.ones(backtrack + 1).at[scale].set(middle)
            low, high = (middle, high) if passes(p_values) else (low, middle)
        levels.append(low)
    assert 0.2 - 1e-3 < sum(levels) <= 0.2 + 1e-6


def test_every_constraint_has_to_pass_at_one_scale():
    tx = certify_updates(("a", "b"), "c", test=SAYS)
    evidence = {
        "a_change": says(0.01, 0.01, 0.01, 0.001),
        "b_change": says(0.01, 0.30, 0.00, 0.001),
        "c_change": says(0.30, 0.01, 0.00, 0.001),
    }
    _, state = certify(tx=tx, **evidence)
    assert (float(state.scale), int(state.tests)) == (0.125, 12)
    for name in "abc":
        np.testing.assert_allclose(state.p_value[name], 0.001)
    evidence["b_change"] = says(1, 1, 1, 1)
    assert not certify(tx=tx, **evidence)[1].accepted


def test_what_must_not_decrease_is_tested_the_other_way():
    rises = lambda params, updates: 1 + 0.1 * jnp.arange(64.0)  # noqa: E731
    for name, accepted in (("decrease", False), ("increase", True)):
        tx = certify_updates(**{name: "it"}, test="normal", backtrack=0)
        assert bool(certify(tx=tx, it_change=rises)[1].accepted) == accepted


def quadratic(params, x):
    return x * (jnp.sum(params["w"] ** 2) + params["b"] ** 2)


BATCH = 1 + 0.02 * jnp.arange(64.0)


def test_a_step_too_long_is_shortened_to_one_that_helps():
    """``(1 - 2.5)^2`` is more than 1, and ``(1 - 1.25)^2`` is less."""
    tx = certify_updates("retain")
    update = jax.jit(tx.update)
    for kind, scale in ((loss_change, 0.5), (directional_derivatives, 1.0)):
        step = jax.tree.map(lambda p: -2.5 * p, PARAMS)
        got, state = update(step, tx.init(PARAMS), PARAMS, retain_change=kind(quadratic, BATCH))
        assert state.scale == scale
        chex.assert_trees_all_close(got, jax.tree.map(lambda u, s=scale: s * u, step))


def test_first_order_evidence_is_tested_once_at_the_whole_level():
    harmful = directional_derivatives(quadratic, BATCH)
    _, state = certify(tx=certify_updates("retain", test="normal"), retain_change=harmful)
    assert (int(state.tests), float(state.scale)) == (1, 0)
    change = says(0.04, 0, 0, 0)
    change.first_order = True
    _, state = certify(retain_change=change)
    assert (int(state.tests), float(state.scale)) == (1, 1)
    mixed = {"a_change": harmful, "b_change": says(0.0, 0.0, 0.0, 0.0)}
    _, state = certify(tx=certify_updates(("a", "b"), test="normal"), **mixed)
    assert int(state.tests) == 8, "a loss change may pass at a smaller step, so all are tried"


def test_weights_of_padding_are_heeded():
    down = jax.tree.map(lambda u: -0.5 * u, UPDATES)

    @jax.jit
    def certified(batch, weights):
        change = loss_change(quadratic, batch, weights)
        return certify(down, tx=SIMPLE, retain_change=change)[1]

    padded = jnp.concatenate([BATCH, jnp.full(16, jnp.nan)])
    weights = jnp.concatenate([jnp.ones(64), jnp.zeros(16)])
    want = certified(BATCH, None)
    for kind in (jnp.float32, bool, jnp.int32):
        state = certified(padded, weights.astype(kind))
        assert state.accepted
        np.testing.assert_allclose(state.p_value["retain"], want.p_value["retain"], rtol=1e-4)
    assert not certified(padded, None).accepted


def test_a_zero_update_is_not_tested():
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    got, state = certify(zero, retain_change=lambda params, updates: jnp.zeros(4))
    chex.assert_trees_all_equal(got, zero)
    assert (int(state.tests), float(state.spent), int(state.abstentions)) == (0, 0, 1)
    assert (bool(state.accepted), float(state.p_value["retain"])) == (False, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_update_that_is_not_finite_becomes_zero_although_no_example_feels_it(bad):
    spoilt = {**UPDATES, "b": jnp.float32(bad)}
    unfelt = loss_change(lambda p, x: x * jnp.sum(p["w"] ** 2), BATCH)
    nothing = lambda params, updates: jnp.zeros(8)  # noqa: E731 - neutral on every example seen
    for change in (unfelt, nothing):
        got, state = certify(spoilt, tx=SIMPLE, retain_change=change)
        chex.assert_trees_all_equal(got, jax.tree.map(jnp.zeros_like, PARAMS))
        assert not state.accepted


def test_changes_that_are_not_finite_let_nothing_pass():
    for bad in (np.nan, np.inf, -np.inf):
        change = lambda params, updates, bad=bad: (-BATCH).at[3].set(bad)  # noqa: E731
        got, state = certify(tx=SIMPLE, retain_change=change)
        assert not any(jnp.any(u) for u in jax.tree.leaves(got))
        assert state.p_value["retain"] == 1


@pytest.mark.parametrize("backtrack", [0, 3])
def test_a_schedule_that_leaves_the_unit_interval_fails_safe(backtrack):
    @jax.jit
    def accepted(level, values):
        tx = certify_updates(
            "retain", confidence=lambda step: level, backtrack=backtrack, test="normal"
        )
        return certify(tx=tx, retain_change=lambda params, updates: values)[1].accepted

    good = -jnp.ones(64)
    assert accepted(jnp.float32(0.9), good)
    for level in (-1.0, 0.0, 1.0, 2.0, np.nan):
        for values in (BATCH, -BATCH, good, jnp.full(64, jnp.nan)):
            assert not accepted(jnp.float32(level), values), (level, values)


def test_what_is_spent_is_the_sum_of_the_levels_and_beyond_it_nothing_passes():
    tx = certify_updates("retain", test=SAYS, spending=alpha_spending(4), confidence=0.9)
    state, update = tx.init(PARAMS), jax.jit(tx.update)
    change = jax.tree_util.Partial(says(0.0, 0.0, 0.0, 0.0))
    levels, accepted = [], []
    for _ in range(6):
        _, state = update(UPDATES, state, PARAMS, retain_change=change)
        levels.append(float(state.level))
        accepted.append(bool(state.accepted))
    np.testing.assert_allclose(levels, [0.025] * 4 + [0] * 2, rtol=1e-5)
    assert accepted == [True] * 4 + [False] * 2
    np.testing.assert_allclose(state.spent, 0.1, rtol=1e-5)
    assert (int(state.step), int(state.abstentions), int(state.abstentions_in_a_row)) == (6, 2, 2)


@pytest.mark.parametrize("steps", [3, None])
def test_steps_that_test_nothing_spend_nothing(steps):
    """As those of a warm-up: the levels are those of a run without them."""
    spending = alpha_spending(steps)
    tx = certify_updates("retain", test=SAYS, spending=spending, backtrack=0)
    still, change = jax.tree.map(jnp.zeros_like, PARAMS), says(0.0)
    state, levels = tx.init(PARAMS), []
    for updates in (still, still, UPDATES, still, UPDATES, UPDATES):
        _, state = certify(updates, tx=tx, state=state, retain_change=change)
        if updates is UPDATES:
            levels.append(float(state.level))
    np.testing.assert_allclose(levels, [0.05 * float(spending(i)) for i in range(3)], rtol=1e-5)
    assert (int(state.step), int(state.tested), int(state.abstentions)) == (6, 3, 3)
    np.testing.assert_allclose(state.spent, sum(levels), rtol=1e-5)


def test_what_passes_earns_a_level_for_what_comes_after():
    tx = certify_updates("retain", test=SAYS, spending=online_fdr(), confidence=0.9, backtrack=1)
    spending = online_fdr()
    state, update, remembered = tx.init(PARAMS), jax.jit(tx.update), spending.init()
    still, said = jax.tree.map(jnp.zeros_like, PARAMS), {}
    for name, p in (("good", 0.0), ("harmful", 1.0)):
        said[name] = jax.tree_util.Partial(says(p, p))
    steps = (("good", UPDATES), ("harmful", UPDATES), ("good", still), ("good", UPDATES)) * 5
    accepted = 0
    for name, updates in steps:
        _, state = update(updates, state, PARAMS, retain_change=said[name])
        level = 0.1 * float(spending.share(remembered))
        np.testing.assert_allclose(state.level, level, rtol=1e-5)
        if updates is UPDATES:  # a zero update is not tested: it neither earns nor spends
            remembered = spending.after(remembered, state.accepted)
            accepted += int(state.accepted)
        assert bool(state.accepted) == (name == "good" and updates is UPDATES)
        assert state.spent <= 0.1 * max(accepted, 1)
    assert update._cache_size() == 2, "one compilation a change"


def test_a_mask_cannot_earn_levels():
    with pytest.raises(TypeError, match=r"online_fdr\(\).*give it to certify_updates"):
        feasible_updates("retain", spending=online_fdr())


def test_abstentions_in_a_row_start_anew():
    state = None
    for p, want in ((1, 1), (1, 2), (0, 0), (1, 1)):
        _, state = certify(state=state, retain_change=says(p, 1, 1, 1))
        assert int(state.abstentions_in_a_row) == want
    assert int(state.abstentions) == 3


def test_a_population_of_a_known_size():
    change = lambda params, updates: jnp.where(jnp.arange(64) < 30, 1.0, -1.1)  # noqa: E731
    seen = {}
    for size in (None, 128, {"retain": 128}, 64):
        tx = certify_updates("retain", test="normal", population_size=size, backtrack=0)
        seen[str(size)] = float(certify(tx=tx, retain_change=change)[1].p_value["retain"])
    want = resolve_mean_test("normal").p_value(change(None, None), None, 128)
    assert seen["128"] == seen["{'retain': 128}"] == pytest.approx(float(want))
    assert seen["None"] > seen["128"]
    assert seen["64"] == 0, "the whole population was seen, and its mean is below 0"


@pytest.mark.parametrize("direction", ["decrease", "increase"])
def test_harm_within_the_tolerance_passes(direction):
    """The p-value is that of the change less the tolerance, to the wrong side."""
    wrong = 1.0 if direction == "decrease" else -1.0
    values = wrong * (0.2 + 0.1 * jnp.sin(jnp.arange(64.0)))
    for tolerance, accepted in ((0.0, False), (0.15, False), (0.25, True), ({"it": 0.25}, True)):
        options = {direction: "it", "tolerance": tolerance, "backtrack": 0, "test": "student"}
        _, state = certify(tx=certify_updates(**options), it_change=lambda p, u: values)
        assert bool(state.accepted) == accepted
        less = tolerance["it"] if isinstance(tolerance, dict) else tolerance
        want = resolve_mean_test("student").p_value(wrong * values - less, None, None)
        np.testing.assert_allclose(state.p_value["it"], want, rtol=1e-5)


def test_a_first_order_change_is_halved_down_to_the_tolerance():
    change = directional_derivatives(quadratic, 1 + 0.1 * jnp.sin(jnp.arange(64.0)))
    params = {"w": jnp.ones(2), "b": jnp.float32(1)}
    updates = jax.tree.map(jnp.ones_like, params)  # the slope is about 6: 0.75 after 3 halvings
    tx = certify_updates("retain", tolerance=1.0, test="student", confidence=0.5)
    _, state = tx.update(updates, tx.init(params), params, retain_change=change)
    assert float(state.scale) == 0.125
    strict = certify_updates("retain", test="student", confidence=0.5)
    _, state = strict.update(updates, strict.init(params), params, retain_change=change)
    assert (bool(state.accepted), int(state.tests)) == (False, 1)


@pytest.mark.parametrize("tolerance", [-0.1, {"retain": -1.0}, float("nan")])
def test_a_negative_tolerance_is_refused(tolerance):
    with pytest.raises(ValueError, match=r"tolerance=.* of 'retain'"):
        certify_updates("retain", tolerance=tolerance)


@pytest.mark.parametrize("size", [0, -3, 0.5, np.nan])
def test_a_population_of_nobody_is_refused(size):
    with pytest.raises(ValueError, match=r"population_size=.* of 'retain'.*at least 1"):
        certify_updates("retain", population_size={"retain": size})


def test_more_examples_than_the_population_holds_are_refused():
    tx = certify_updates("retain", test="normal", population_size=63)
    with pytest.raises(ValueError, match=r"retain_change gave 64 changes of a population of 63"):
        certify(tx=tx, retain_change=lambda params, updates: -BATCH)


def test_a_population_of_an_unknown_constraint_is_refused():
    with pytest.raises(ValueError, match=r"names \['other'\].*\['retain'\]"):
        certify_updates("retain", population_size={"other": 128})


def test_what_is_missing_or_of_the_wrong_shape_is_said():
    with pytest.raises(TypeError, match=r"needs retain_change=.*loss_change.*got NoneType"):
        certify()
    with pytest.raises(TypeError, match=r"got .*Array"):
        certify(retain_change=jnp.ones(8))
    with pytest.raises(TypeError, match="pass them to update"):
        certify(params=None, retain_change=says(0, 0, 0, 0))
    for shape in ((), (4, 1)):
        with pytest.raises(ValueError, match=r"retain_change returned shape \(.*\(B,\)"):
            certify(retain_change=lambda params, updates, s=shape: jnp.ones(s))
    uneven = loss_change(lambda p, x: jnp.sum(p["w"]) * x, BATCH, jnp.ones(64))
    object.__setattr__(uneven, "weights", jnp.ones(63))
    with pytest.raises(ValueError, match=r"weights has shape \(63,\), the batch 64"):
        certify(retain_change=uneven)

    class Uneven:
        weights = jnp.ones(63)

        def __call__(self, params, updates):
            return BATCH

    with pytest.raises(ValueError, match=r"\(64,\), its weights \(63,\)"):
        certify(retain_change=Uneven())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decrease": ()}, "no constraints"),
        ({"confidence": 1.0}, r"confidence=1\.0"),
        ({"backtrack": -1}, "backtrack=-1"),
        ({"backtrack": 1.5}, r"backtrack=1\.5"),
        ({"test": "wald"}, "test='wald'"),
        ({"test": "betting"}, "bound"),
        ({"change": "hessian"}, "change='hessian'"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        certify_updates(**{"decrease": "retain", **options})


def test_after_feasible_updates_under_jit_one_compilation_serves_every_step():
    tx = optax.chain(
        optax.sgd(0.1),
        feasible_updates("retain", confidence=0.6),
        certify_updates("retain", test="normal"),
    )
    traces = []

    @jax.jit
    def step(params, state, chosen, fresh):
        traces.append(1)
        grads = jax.vmap(jax.grad(quadratic), (None, 0))(params, chosen)
        gradient = jax.tree.map(lambda g: g.mean(0), grads)
        evidence = {"retain": grads, "retain_change": loss_change(quadratic, fresh)}
        updates, state = tx.update(gradient, state, params, **evidence)
        return optax.apply_updates(params, updates), state

    params, state = PARAMS, tx.init(PARAMS)
    before = jax.eval_shape(lambda: state)
    for seed in range(3):
        chosen, fresh = 1 + 0.1 * jax.random.normal(jax.random.key(seed), (2, 64))
        params, state = step(params, state, chosen, fresh)
        assert state[-1].accepted
    assert len(traces) == 1
    assert jax.eval_shape(lambda: state) == before
    assert float(params["b"]) == pytest.approx(0.8**3, rel=0.05)


def test_around_masked_and_partition_it_tests_the_whole_update():
    inner = optax.partition(
        {"go": optax.sgd(0.1), "stay": optax.set_to_zero()}, {"w": "stay", "b": "go"}
    )
    tx = optax.chain(inner, SIMPLE)
    change = loss_change(quadratic, BATCH)
    got, state = tx.update(UPDATES, tx.init(PARAMS), PARAMS, retain_change=change)
    assert state[-1].accepted
    assert not jnp.any(got["w"])
    for inside in (
        optax.masked(SIMPLE, {"w": True, "b": False}),
        optax.partition({"a": SIMPLE, "b": optax.set_to_zero()},
                        {"w": "a", "b": "b"}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="chain it after masked"):
            inside.update(UPDATES, inside.init(PARAMS), PARAMS, retain_change=change)


def test_holes_in_updates_stay_holes():
    updates = {"w": -0.1 * jnp.ones(2), "b": None}
    change = loss_change(quadratic, BATCH)
    got, state = certify(updates, tx=SIMPLE, retain_change=change)
    assert got["b"] is None
    assert state.accepted


def test_narrow_updates_are_halved_exactly_and_keep_their_dtype():
    updates = jax.tree.map(lambda u: u.astype(jnp.bfloat16), UPDATES)
    params = jax.tree.map(lambda u: u.astype(jnp.bfloat16), PARAMS)
    got, _ = certify(updates, params, retain_change=says(1, 0, 0, 0))
    chex.assert_trees_all_equal(got, jax.tree.map(lambda u: u / 2, updates))
    assert got["w"].dtype == jnp.bfloat16
    low = lambda p, x: quadratic(p, x.astype(jnp.bfloat16))  # noqa: E731
    down = jax.tree.map(jnp.negative, updates)
    tx = certify_updates("retain", test="normal")
    got, state = certify(down, params, tx=tx, retain_change=loss_change(low, BATCH))
    assert state.accepted
    assert got["b"].dtype == jnp.bfloat16


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("kind", [loss_change, directional_derivatives])
def test_inside_shard_map_it_equals_a_single_device(kind, check_vma):
    rng = np.random.default_rng(0)
    batch = jnp.asarray(rng.normal(size=64) + 0.3, jnp.float32)
    weights = jnp.asarray(rng.random(64) < 0.8, jnp.float32)
    step = jax.tree.map(lambda p: -1.2 * p, PARAMS)
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(jax.sharding.AxisType.Auto,) * 2)

    def update(axis_name):
        tx = certify_updates("retain", confidence=0.9, axis_name=axis_name, test="normal")

        def apply(params, batch, weights):
            change = kind(quadratic, batch, weights)
            return tx.update(step, tx.init(params), params, retain_change=change)

        return apply

    want = jax.jit(update(None))(PARAMS, batch, weights)
    rows = P(("x", "y"))
    program = jax.shard_map(
        update(("x", "y")), mesh=mesh, in_specs=(P(), rows, rows), out_specs=P(),
        check_vma=check_vma,
    )  # fmt: skip
    got = jax.jit(program)(PARAMS, batch, weights)
    assert 1e-4 < float(want[1].p_value["retain"]) < 0.5
    chex.assert_trees_all_close(got, want, rtol=1e-4)


@pytest.mark.parametrize(("test", "backtrack"), [("student", 0), ("student", 3), ("gaffke", 0)])
def test_a_step_at_the_boundary_of_harm_is_applied_at_most_at_the_level(binomial, test, backtrack):
    """Every scale of it changes nothing on average, and the batch knows nothing of the choice."""
    draws, size, level = 4000, 48, 0.1
    tx = certify_updates("retain", confidence=1 - level, test=test, backtrack=backtrack)

    @jax.jit
    @jax.vmap
    def accepted(key):
        noise = jax.random.normal(key, (size,))
        change = lambda params, updates: noise * jnp.sum(updates)  # noqa: E731
        return tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2), retain_change=change)[1]

    state = accepted(jax.random.split(jax.random.key(0), draws))
    rate = float(np.mean(state.accepted))
    assert rate <= level + 4.5 * np.sqrt(level * (1 - level) / draws)
    if test == "student":
        # Scales see the same sign of the same noise: only the first of them can pass.
        binomial(state.accepted, level if backtrack == 0 else level / 2)
