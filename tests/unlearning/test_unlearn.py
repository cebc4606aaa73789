import gc
import inspect
import warnings
import weakref
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

import feasible_jax as fj
from feasible_jax.methods import Method, Objective, gradient_ascent, neg_grad_plus
from feasible_jax.unlearning.batches import draw_batch

# The same objects for all tests, so that most runs find their program compiled.
SGD = optax.sgd(0.05)
COUNTED = optax.sgd(optax.constant_schedule(0.05))
HEAVY = optax.with_extra_args_support(optax.sgd(0.05, momentum=0.9))
FEASIBLE = fj.feasible_updates(decrease=("retain",), confidence=0.8)


def run(loss, params, sets, **kwargs):
    defaults = {
        "method": neg_grad_plus(0.5), "optimizer": SGD, "steps": 5, "batch_size": 6,
        "chunk_size": 4, "progress": False,
    }  # fmt: skip
    return fj.unlearn(loss, params, **{**sets, **defaults, **kwargs})


def by_hand(loss, params, sets, tx, steps, batch_size=6, weight=0.5, seed=0, evidence=False):
    """NegGrad+ as one writes it with Optax alone, on the batches that a run draws."""
    params = jax.tree.map(jnp.asarray, params)
    opt_state, key = tx.init(params), jax.random.key(seed)

    def objective(params, forget, retain):
        mean = lambda batch: jnp.mean(jax.vmap(loss, (None, 0))(params, batch))  # noqa: E731
        return weight * mean(retain) - (1 - weight) * mean(forget)

    @jax.jit
    def step(params, opt_state, key):
        key, batch_key, _ = jax.random.split(key, 3)
        forget, retain = (
            draw_batch(
                jax.random.fold_in(batch_key, zlib.crc32(name.encode())), sets[name], batch_size
            )
            for name in ("forget", "retain")
        )
        extra = {"retain": fj.grad_moments(loss)(params, retain)} if evidence else {}
        grads = jax.grad(objective)(params, forget, retain)
        updates, opt_state = tx.update(grads, opt_state, params, **extra)
        return optax.apply_updates(params, updates), opt_state, key

    for _ in range(steps):
        params, opt_state, key = step(params, opt_state, key)
    return params, opt_state


def assert_close(one, other, atol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), one, other)


class TestAgainstWhatIsKnown:
    def test_ascent_on_a_quadratic_follows_the_exact_recursion(self):
        """``w - c`` grows by ``1 + lr`` a step when every example is ``c``."""
        centre, start, lr, steps = np.array([1.0, -2.0]), np.array([1.5, -2.25]), 0.1, 13
        examples = np.tile(np.float32(centre), (4, 1))
        result = fj.unlearn(
            lambda w, c: 0.5 * jnp.sum((w - c) ** 2), np.float32(start), forget=examples,
            retain=examples, method=gradient_ascent(), optimizer=optax.sgd(lr), steps=steps,
            batch_size=3, chunk_size=5, progress=False,
        )  # fmt: skip
        want = centre + (start - centre) * (1 + lr) ** steps
        np.testing.assert_allclose(result.params, want, rtol=1e-5)
        losses = 0.5 * np.sum((start - centre) ** 2) * (1 + lr) ** (2 * np.arange(steps))
        np.testing.assert_allclose(result.history.losses["forget"], losses, rtol=1e-5)

    def test_a_plain_run_is_an_optax_loop(self, loss, params, sets):
        result = run(loss, params, sets, optimizer=HEAVY, steps=6, key=3)
        want, opt_state = by_hand(loss, params, sets, HEAVY, 6, seed=3)
        assert_close(result.params, want)
        assert_close(result.opt_state, opt_state)

    def test_a_feasible_run_is_an_optax_loop_with_evidence(self, loss, params, sets):
        result = run(loss, params, sets, optimizer=HEAVY, feasibility=FEASIBLE)
        tx = optax.chain(HEAVY, FEASIBLE)
        want, opt_state = by_hand(loss, params, sets, tx, 5, evidence=True)
        assert_close(result.params, want)
        assert_close(result.opt_state, opt_state)
        assert 0 < result.history.kept.mean() < 1, "the test would show nothing otherwise"

    def test_a_run_with_convolutions_is_one_too(self, params, sets):
        """On a CPU it takes another way, see ``make_chunk``."""

        def convolution(params, example):
            inputs, target = example
            out = jax.lax.conv(inputs[None, None], params["w"][None, None], (1,), "SAME")
            return 0.5 * (jnp.sum(jnp.tanh(out)) + params["b"] - target) ** 2

        result = run(convolution, params, sets, optimizer=HEAVY, steps=6, chunk_size=4)
        want, opt_state = by_hand(convolution, params, sets, HEAVY, 6)
        assert_close(result.params, want)
        assert_close(result.opt_state, opt_state)
        assert result.history.losses["forget"].shape == (6,)

    def test_a_run_does_not_depend_on_its_chunks(self, loss, params, sets):
        one, other = (run(loss, params, sets, steps=7, chunk_size=n) for n in (4, 50))
        assert_close(one.params, other.params)
        assert_close(one.history, other.history)
        assert_close(one.opt_state, other.opt_state)


class TestFeasibility:
    @pytest.mark.parametrize(
        "rule",
        [
            fj.coordinatewise(), fj.groupwise("leaf"), fj.groupwise("row"), fj.sign_agreement(),
            fj.random_mask(0.5),
        ],
        ids=lambda rule: rule.name,
    )  # fmt: skip
    def test_every_rule_gets_its_evidence(self, rule, loss, params, sets):
        feasibility = fj.feasible_updates(
            decrease=("retain",), increase=("forget",), confidence=0.6, rule=rule
        )
        history = run(loss, params, sets, feasibility=feasibility).history
        for fractions in (history.kept, *history.kept_per_leaf.values()):
            assert fractions.shape == (5,)
            assert ((fractions >= 0) & (fractions <= 1)).all()
        assert 0 < history.kept.mean() < 1
        assert set(history.kept_per_leaf) == {"b", "w"}
        assert set(history.pass_rate) == {"retain", "forget"}

    def test_the_history_tells_levels_and_how_many_may_be_false(self, loss, params, sets):
        feasibility = fj.feasible_updates(
            decrease=("retain",), confidence=0.6, spending=fj.alpha_spending(4)
        )
        history = run(loss, params, sets, feasibility=feasibility).history
        np.testing.assert_allclose(history.level, [0.1] * 4 + [0], rtol=1e-5)
        assert history.expected_false.shape == (5,)
        assert (history.expected_false >= 0).all()
        assert history.expected_false.any()
        rule = fj.sign_agreement()
        without = run(loss, params, sets, feasibility=fj.feasible_updates("retain", rule=rule))
        assert without.history.expected_false.tolist() == [-1] * 5

    def test_it_may_be_chained_into_the_optimizer(self, loss, params, sets):
        apart = run(loss, params, sets, optimizer=HEAVY, feasibility=FEASIBLE)
        chained = run(loss, params, sets, optimizer=optax.chain(HEAVY, FEASIBLE))
        assert_close(apart.params, chained.params, atol=0)
        assert_close(apart.history, chained.history, atol=0)

    @pytest.mark.parametrize("wrap", ["partition", "apply_if_finite"])
    def test_wrappers_hand_the_evidence_on(self, wrap, loss, params, sets):
        inner = optax.chain(optax.sgd(0.05), fj.feasible_updates(decrease=("retain",)))
        tx = {
            "partition": lambda: optax.partition(
                {"train": inner, "freeze": optax.set_to_zero()}, {"b": "freeze", "w": "train"}
            ),
            "apply_if_finite": lambda: optax.apply_if_finite(inner, 3),
        }[wrap]()
        with jax.numpy_dtype_promotion("standard"):  # Optax's own wrappers are not that strict
            result = run(loss, params, sets, optimizer=tx)
        assert result.stop is None
        assert "w" in result.history.kept_per_leaf

    def test_a_third_group_is_watched(self, loss, params, sets):
        group = {"group": sets["forget"]}
        feasibility = fj.feasible_updates(decrease=("retain", "group"))
        history = run(loss, params, sets, feasibility=feasibility, constraint_data=group).history
        assert set(history.losses) == {"forget", "retain", "group"}
        assert set(history.pass_rate) == {"retain", "group"}

    def test_a_plain_and_a_feasible_run_see_the_same_batches(self, loss, params, sets):
        plain = run(loss, params, sets, method=gradient_ascent(), steps=1)
        feasibility = fj.feasible_updates(decrease=("retain",))
        masked = run(loss, params, sets, method=gradient_ascent(), steps=1, feasibility=feasibility)
        assert plain.history.losses["forget"] == masked.history.losses["forget"]

    def test_nothing_is_tested_in_a_plain_run(self, loss, params, sets):
        history = run(loss, params, sets).history
        assert history.kept.tolist() == [1.0] * 5
        assert history.kept_per_leaf == {}
        assert history.pass_rate == {}
        assert (history.level, history.expected_false) == (None, None)


class TestLength:
    @pytest.mark.parametrize(("steps", "chunk_size"), [(1, 25), (4, 4), (5, 4), (8, 4)])
    def test_the_number_of_steps_is_honoured_exactly(self, steps, chunk_size, loss, params, sets):
        result = run(loss, params, sets, steps=steps, chunk_size=chunk_size, optimizer=COUNTED)
        for losses in result.history.losses.values():
            assert losses.shape == (steps,)
            assert np.isfinite(losses).all()
        assert result.stop is None
        assert optax.tree_utils.tree_get(result.opt_state, "count") == steps

    @pytest.mark.parametrize(
        ("answers", "taken"), [([True], 4), ([None, np.True_], 8), ([None, False, None], 10)]
    )
    def test_on_chunk_may_end_the_run(self, answers, taken, loss, params, sets):
        seen = []

        def on_chunk(steps, params):
            seen.append((steps, params))
            return answers[len(seen) - 1]

        result = run(loss, params, sets, steps=10, chunk_size=4, on_chunk=on_chunk)
        assert [steps for steps, _ in seen] == [4, 8, 10][: len(answers)]
        assert len(result.history.kept) == taken
        assert_close(seen[-1][1], result.params, atol=0)
        if taken < 10:
            assert result.stop is not None
            assert (result.stop.step, "on_chunk" in result.stop.reason) == (taken, True)
            assert_close(result.params, run(loss, params, sets, steps=taken).params)
        else:
            assert result.stop is None

    def test_a_wish_to_stop_at_the_end_changes_nothing(self, loss, params, sets):
        assert run(loss, params, sets, on_chunk=lambda steps, params: steps == 5).stop is None


def exploding(w, example):
    """Ascent with learning rate 1 squares ``w`` about every step: 2, 10, 1010, 1e9, 1e27, inf."""
    return jnp.abs(w) ** 3 / 3 + w * 0 * example[1]


class TestNotFinite:
    LONE = {"forget": (np.zeros((1, 1)), np.zeros(1)), "retain": (np.zeros((1, 1)), np.zeros(1))}  # noqa: RUF012

    def explode(self, **kwargs):
        return fj.unlearn(
            exploding, np.float32(3.0), **self.LONE, optimizer=optax.sgd(1.0, momentum=0.5),
            method=gradient_ascent(), batch_size=2, progress=False, **kwargs,
        )  # fmt: skip

    def test_the_run_ends_with_the_last_finite_parameters(self):
        with pytest.warns(RuntimeWarning, match="gradient ascent: .* after [0-9]+ steps") as caught:
            result = self.explode(steps=100, chunk_size=25)
        assert caught[0].filename == inspect.getfile(TestNotFinite), "the caller's line is shown"
        assert len(caught) == 1
        assert result.stop is not None
        taken = result.stop.step
        assert 2 <= taken < 25
        assert np.isfinite(result.params)
        assert result.history.losses["forget"].shape == (taken,)
        assert np.isfinite(result.history.losses["forget"]).all()
        assert np.isfinite(optax.tree_utils.tree_get(result.opt_state, "trace"))

        with warnings.catch_warnings():
            warnings.simplefilter("error")  # not even at the end of the last chunk
            shorter = self.explode(steps=taken, chunk_size=25)
        assert shorter.stop is None
        assert shorter.params == result.params

    def test_chunks_after_the_end_are_not_run(self):
        calls = []
        with pytest.warns(RuntimeWarning):
            self.explode(steps=100, chunk_size=2, on_chunk=lambda *seen: calls.append(seen))
        assert len(calls) <= 5

    def test_it_may_happen_at_once(self, loss, params, sets):
        bad = {"forget": (sets["forget"][0], np.full(7, np.inf, np.float32))}
        with pytest.warns(RuntimeWarning, match="after 0 steps"):
            result = run(loss, params, {**sets, **bad})
        assert_close(result.params, params, atol=0)
        assert result.history.kept.shape == (0,)
        assert result.stop is not None
        assert result.stop.step == 0

    def test_a_watched_loss_counts_although_no_objective_sees_it(self, loss, params, sets):
        bad = {"group": (sets["forget"][0], np.full(7, np.inf, np.float32))}
        feasibility = fj.feasible_updates(decrease=("group",))
        with pytest.warns(RuntimeWarning, match="after 0 steps"):
            run(loss, params, sets, feasibility=feasibility, constraint_data=bad)


class TestCompilation:
    def test_a_sweep_over_hyperparams_compiles_once(self, loss, params, sets):
        traces = []

        def counting(params, example):
            traces.append(None)
            return loss(params, example)

        tx = optax.inject_hyperparams(optax.sgd)(learning_rate=0.05, momentum=0.9)
        results, counts = {}, []
        for rate in (0.05, 0.1, 0.2):
            before = len(traces)
            results[rate] = run(
                counting, params, sets, optimizer=tx, feasibility=FEASIBLE,
                hyperparams={"learning_rate": rate},
            )  # fmt: skip
            counts.append(len(traces) - before)
        assert counts[0] > counts[1] == counts[2] == 0
        tx = optax.chain(optax.sgd(0.2, momentum=0.9), FEASIBLE)
        assert_close(results[0.2].params, by_hand(loss, params, sets, tx, 5, evidence=True)[0])
        assert (results[0.1].params["w"] != results[0.2].params["w"]).any()

    def test_hyperparams_that_nobody_reads_are_refused(self, loss, params, sets):
        with pytest.raises(ValueError, match=r"learning_rate.*inject_hyperparams"):
            run(loss, params, sets, hyperparams={"learning_rate": 0.5})

    def test_a_confidence_can_be_swept_too(self, loss, params, sets):
        feasibility = optax.inject_hyperparams(
            fj.feasible_updates, static_args=("decrease", "increase", "rule", "test")
        )(decrease=("retain",), confidence=0.5)
        sure, unsure = (
            run(loss, params, sets, feasibility=feasibility, hyperparams={"confidence": c})
            for c in (0.999, 0.5)
        )
        assert sure.history.kept.mean() < unsure.history.kept.mean()

    def test_hyperparams_keep_their_dtype(self, loss, params, sets):
        dtype = jnp.bfloat16

        def low(params, example):
            return loss(params, jax.tree.map(lambda leaf: leaf.astype(dtype), example))

        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)
        tx = optax.inject_hyperparams(optax.sgd)(learning_rate=0.05)
        result = run(low, params, sets, optimizer=tx, hyperparams={"learning_rate": 0.1})
        assert result.opt_state.hyperparams["learning_rate"].dtype == dtype
        assert result.params["w"].dtype == dtype

    def test_losses_of_equal_shapes_are_not_mixed_up(self, loss, params, sets):
        def scaled(scale):
            return lambda params, example: scale * loss(params, example)

        one, ten = (run(scaled(s), params, sets, steps=1) for s in (1.0, 10.0))
        moved = jax.tree.map(lambda new, old: new - old, one.params, params)
        further = jax.tree.map(lambda new, old: new - old, ten.params, params)
        assert_close(further, jax.tree.map(lambda leaf: 10 * leaf, moved), atol=1e-5)

    def test_data_of_equal_shapes_are_not_mixed_up(self, loss, params, sets):
        others = jax.tree.map(lambda leaf: 2 * leaf - 1, sets)
        for data in (sets, others):
            result = run(loss, params, data, optimizer=HEAVY)
            assert_close(result.params, by_hand(loss, params, data, HEAVY, 5)[0])

    def test_no_data_is_kept_alive(self, loss):
        def size():
            return sum(leaf.shape[:1] in ((1237,), (1238,)) for leaf in jax.live_arrays())

        data = {"forget": np.ones((1237, 3), np.float32), "retain": np.zeros((1237, 3), np.float32)}
        targets = np.ones(1237, np.float32)
        sets = {name: (leaf, targets) for name, leaf in data.items()}
        params = {"w": np.ones((1238, 3), np.float32), "b": np.float32(0)}

        def sum_loss(params, example):
            return loss({"w": jnp.mean(params["w"], 0), "b": params["b"]}, example)

        refs = [weakref.ref(leaf) for leaf in (*data.values(), targets, params["w"])]
        for _ in range(2):
            run(sum_loss, params, sets, optimizer=HEAVY)
        del data, targets, sets, params
        gc.collect()
        assert [ref() is None for ref in refs] == [True] * 4
        assert size() == 0


class TestArguments:
    def test_keys_of_every_kind(self, loss, params, sets):
        seeds = [3, np.int64(3), jax.random.key(3)]
        runs = [run(loss, params, sets, key=key) for key in seeds]
        for other in runs[1:]:
            assert_close(runs[0].params, other.params, atol=0)
        old_style = run(loss, params, sets, key=jax.random.PRNGKey(3))
        assert_close(runs[0].params, old_style.params)

    @pytest.mark.parametrize("kind", [np.asarray, jnp.asarray, np.float64])
    def test_parameters_of_any_kind_are_left_alone(self, kind, loss, params, sets):
        params = jax.tree.map(kind, params)
        before = jax.tree.map(np.array, params)
        result = run(loss, params, sets)
        jax.tree.map(np.testing.assert_array_equal, params, before)
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(result.params))
        assert (result.params["w"] != params["w"]).any()

    def test_a_key_is_not_consumed(self, loss, params, sets):
        key = jax.random.key(7)
        one, other = (run(loss, params, sets, key=key) for _ in range(2))
        assert_close(one.params, other.params, atol=0)

    def test_a_penalty_and_phases_pass_through(self, loss, params, sets):
        """An alternating method with weight decay as its penalty: SCRUB's shape, by hand."""
        method = Method(
            "turns",
            (Objective("up", "forget"), Objective("down", "retain")),
            (-1.0, lambda progress: 1 - progress),
            lambda problem, params, progress: 0.5 * jnp.sum(params["w"] ** 2),
            (("up",), ("down",)),
        )
        history = run(loss, params, sets, method=method).history
        assert np.isnan(history.losses["up"]).tolist() == [False, True, False, True, False]
        assert np.isnan(history.losses["down"]).tolist() == [True, False, True, False, True]

    EMPTY = (np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    RAGGED = (np.zeros((4, 3), np.float32), np.zeros(3, np.float32))

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"steps": 0}, "steps=0"),
            ({"steps": 2.5}, r"steps=2\.5"),
            ({"batch_size": 0}, "batch_size=0"),
            ({"chunk_size": -1}, "chunk_size=-1"),
            ({"batch_size": 1, "feasibility": FEASIBLE}, "batch_size=1.*at least 2"),
            ({"forget": EMPTY}, "forget set.*empty"),
            ({"retain": EMPTY}, "retain set.*empty"),
            ({"retain": RAGGED}, "retain set.*leading axis"),
            ({"forget": ()}, "forget set"),
            ({"constraint_data": {"group": EMPTY}}, "group set.*empty"),
            ({"strategy": "guess"}, "strategy='guess'"),
            (
                {"feasibility": fj.feasible_updates(decrease=("group",))},
                r"constraint 'group' has no data.*constraint_data",
            ),
            ({"constraint_data": {"retain": RAGGED}}, "constraint_data names 'retain'"),
            ({"method": Method("m", (), ())}, "neither an objective"),
        ],
    )
    def test_mistakes_are_found_before_any_work(self, wrong, message, loss, params, sets):
        def untouched(steps, params):
            raise AssertionError("work was done")

        with pytest.raises(ValueError, match=message):
            run(loss, params, sets, on_chunk=untouched, **wrong)

    def test_one_example_will_do_for_rules_without_variance(self, loss, params, sets):
        feasibility = fj.feasible_updates(decrease=("retain",), rule=fj.sign_agreement())
        assert run(loss, params, sets, batch_size=1, feasibility=feasibility).stop is None

    def test_a_loss_of_a_batch_is_refused(self, loss, params, sets):
        def vector(params, example):
            return params["w"] * loss(params, example)

        with pytest.raises(ValueError, match=r"scalar for ONE example.*float32\[3\]"):
            run(vector, params, sets)


def test_a_run_on_a_terminal_shows_its_progress(loss, params, sets, monkeypatch, capsys):
    import rich.console

    class Terminal(Console):
        def __init__(self, **kwargs):
            super().__init__(**kwargs, force_terminal=True, width=160)

    monkeypatch.setattr(rich.console, "Console", Terminal)
    run(loss, params, sets, steps=5, progress=True)
    text = capsys.readouterr().err
    for part in ("NegGrad+", "5/5", "forget ", "retain ", "kept 100%", "0:00:00"):
        assert part in text


def test_a_run_elsewhere_is_silent(loss, params, sets, capsys):
    run(loss, params, sets, progress=True)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_an_optimizer_may_collect_evidence_over_steps(loss, params, sets):
    tx = fj.accumulate_evidence(optax.chain(SGD, FEASIBLE), 2)
    result = run(loss, params, sets, optimizer=tx)
    want, _ = by_hand(loss, params, sets, tx, 5, evidence=True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), result.params, want)
    assert result.history.abstained.tolist() == [True, False, True, False, True]
    assert result.opt_state.gradient_step == 2
