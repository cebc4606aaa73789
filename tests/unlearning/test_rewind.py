from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import feasible_jax as fj
from feasible_jax.unlearning import saved_run
from feasible_jax.unlearning.rewind import Rewind, error_of
from feasible_jax.unlearning.saved_run import read_saved
from feasible_jax.unlearning.step import first_state

INPUTS = np.array([0.75, 1.25, 2.75, 3.25, 9.0], np.float32)
FORGET = fj.Examples(INPUTS, np.zeros(5, int))
SGD = optax.inject_hyperparams(optax.sgd)(0.5)


def loss(b, example):
    """Every step lowers ``b`` by the learning rate."""
    return b + 0 * example.inputs


def predict(b, inputs):
    """Class 0 for inputs above ``-b``."""
    return jnp.stack([inputs + b, jnp.zeros_like(inputs)], axis=-1)


def run(wanted, steps=10, **kwargs):
    settings = {
        "predict_fn": predict, "forget": FORGET, "chunk_size": 2, "params": jnp.float32(0),
        "method": fj.methods.fine_tuning(), "optimizer": SGD, **kwargs,
    }  # fmt: skip
    return fj.unlearn(
        settings.pop("loss", loss),
        retain=FORGET,
        steps=steps,
        batch_size=settings.pop("batch_size", 2),
        rewind_to=wanted,
        progress=False,
        **settings,
    )


def held_out(wrong, right):
    """Examples of which so many are wrong and right after 10 steps, when ``b`` is -5."""
    inputs = np.float32([1] * wrong + [9] * right)
    return fj.Examples(inputs, np.zeros(wrong + right, int))


def never(taken, params):
    raise AssertionError("a step was taken")


class Interrupted(Exception):
    """Something of the caller's fails."""


def interrupt_at(step):
    def on_chunk(taken, params):
        if taken == step:
            raise Interrupted

    return on_chunk


def jitter():
    """An optimizer whose state is a random key, and something empty."""

    def update(updates, state, params=None):
        key, now = jax.random.split(state[0])
        noise = 0.01 * jax.random.normal(now)
        return jax.tree.map(lambda u: -0.5 * u + noise, updates), (key, state[1])

    return optax.GradientTransformation(
        lambda params: (jax.random.key(1, impl="rbg"), jnp.zeros((0, 3))), update
    )


def assert_same(one, other):
    """Bit for bit, whatever is in the result."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if isinstance(a, int):
            assert a == b
            continue
        assert a.dtype == b.dtype
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize(
    ("wanted", "steps"),
    # After 2, 4, ..., 10 steps the errors are 1/5, 2/5, 3/5, 4/5, 4/5.
    [
        (0, 2),
        (0.2, 2),
        (0.3, 4),  # in the middle: the latest
        (np.float32(0.3), 4),
        (jnp.float32(0.33), 4),
        (np.float32(0.55), 6),
        (0.8, 10),
        (1.0, 10),
    ],
)
def test_a_run_goes_back_to_the_look_nearest_to_the_error_wanted(wanted, steps):
    result = run(wanted)
    assert result.rewound_to == steps
    assert float(result.params) == -0.5 * steps
    assert int(result.opt_state.count) == steps
    assert result.history.losses["retain"].shape == (10,)
    assert result.stop is None


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        (held_out(0, 3), 2),
        (held_out(1, 3), 2),
        (held_out(1, 2), 4),
        (held_out(3, 7), 4),  # as near to 1/5 as to 2/5: the latest
        (held_out(1, 1), 6),
        (held_out(3, 1), 10),  # nearest to 4/5, at two looks: the latest
        (held_out(600, 1), 10),
        (tuple(map(jnp.asarray, held_out(1, 2))), 4),
    ],
)
def test_the_error_wanted_may_be_that_of_the_last_model_on_other_examples(examples, steps):
    result = run(examples)
    assert result.rewound_to == steps
    assert float(result.params) == -0.5 * steps
    assert int(result.opt_state.count) == steps
    assert result.history.losses["retain"].shape == (10,)


def test_the_last_model_of_a_run_that_was_stopped_is_that_before_the_stop():
    # After 6 steps b is -3, and one of three inputs lies below 3: nearest is 2/5, after 4.
    examples = fj.Examples(np.float32([2, 4, 4]), np.zeros(3, int))
    result = run(examples, on_chunk=lambda step, params: step == 6)
    assert (result.stop.step, result.rewound_to) == (6, 4)
    assert run(examples).rewound_to == 10


def test_one_look_is_kept_for_each_error_and_in_the_memory_of_the_host():
    examples, number = (Rewind(wanted, predict, FORGET) for wanted in (held_out(1, 1), 0.5))
    kept = {examples: [], number: []}
    for rewind, steps in kept.items():
        looks = ()
        for step, b in enumerate([0, -1, -2, -2, -1, -0.5, -3]):  # wrong: 0, 1, 2, 2, 1, 0, 3
            state = first_state(jnp.float32(b), SGD.init(jnp.float32(0)), jax.random.key(0))
            looks = rewind.look(looks, state._replace(step=jnp.int32(step)))
            steps.append([look.step for look in looks])
        for look in looks:
            leaves = jax.tree.leaves((look.params, look.opt_state))
            assert {type(leaf) for leaf in leaves} == {np.ndarray}
    assert kept[examples] == [[0], [0, 1], [0, 1, 2], [0, 1, 3], [0, 3, 4], [3, 4, 5], [3, 4, 5, 6]]
    assert kept[number] == [[0], [1], [2], [3], [3], [3], [6]]  # 3/5 is as near to 1/2 as 2/5


def test_what_is_gone_back_to_lies_on_the_mesh_as_before():
    spread = NamedSharding(jax.make_mesh((8,), ("x",)), PartitionSpec("x"))
    result = run(
        held_out(1, 2),
        params=jax.device_put(jnp.zeros(8), spread),
        loss=lambda b, example: jnp.sum(b) + 0 * example.inputs,
        predict_fn=lambda b, inputs: predict(jnp.mean(b), inputs),
    )
    assert result.rewound_to == 4
    assert result.params.sharding.is_equivalent_to(spread, 1)
    np.testing.assert_array_equal(result.params, np.full(8, -2))


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("wanted", [0.4, "examples"])
def test_sets_may_lie_on_a_mesh_or_on_one_device_of_it(wanted, explicit):
    kind = (jax.sharding.AxisType.Explicit if explicit else jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((8,), ("x",), axis_types=kind)
    rows = NamedSharding(mesh, PartitionSpec("x"))
    forget = fj.Examples(np.tile(INPUTS, 64), np.zeros(320, int))  # more than are measured at once
    forget = jax.tree.map(lambda leaf: jax.device_put(leaf, rows), forget)
    examples = jax.device_put(held_out(1, 2), jax.devices()[1])
    given = {
        "params": jax.device_put(jnp.float32(0), NamedSharding(mesh, PartitionSpec())),
        "forget": forget, "batch_sharding": rows, "batch_size": 8,
    }  # fmt: skip
    result = run(examples if wanted == "examples" else wanted, **given)
    assert result.rewound_to == 4


def test_what_cannot_be_measured_is_told_of_before_the_first_step():
    def of_wide_inputs(b, inputs):
        return predict(b, inputs) @ jnp.ones((3, 2))

    for wanted in (0.4, held_out(1, 2)):
        with pytest.raises(TypeError):
            run(wanted, predict_fn=of_wide_inputs, on_chunk=never)


def test_the_last_chunk_is_looked_at_though_it_is_not_full():
    assert run(1.0, steps=7, chunk_size=3).rewound_to == 7


def test_a_run_that_was_stopped_is_rewound_too():
    result = run(0.4, on_chunk=lambda step, params: step == 6)
    assert result.stop is not None
    assert (result.stop.step, result.rewound_to) == (6, 4)


def test_without_it_the_last_parameters_are_kept():
    result = run(None, predict_fn=None)
    assert result.rewound_to is None
    assert float(result.params) == -5


def test_the_error_is_a_share_of_the_whole_set():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(601, 4)).astype(np.float32)
    labels = rng.integers(0, 4, 601).astype(np.uint8)
    error = error_of(lambda params, inputs: inputs, None, (logits, labels))
    assert error == Fraction(int((logits.argmax(-1) != labels).sum()), 601)


@pytest.mark.parametrize("wanted", [-0.1, 1.5, float("nan"), "0.5", [0.5], np.full(2, 0.5)])
def test_what_is_no_share_is_refused(wanted):
    with pytest.raises(ValueError, match="rewind_to="):
        run(wanted)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ((INPUTS, INPUTS), r"held-out examples are a pair \(inputs, integer labels\)"),
        ((INPUTS, np.zeros(5, int), INPUTS), "held-out examples are a pair"),
        ((0.1, 0.2), "held-out examples are a pair"),
        ((INPUTS, np.zeros(4, int)), r"shape \(5,\), labels \(4,\)"),
        ((INPUTS[:0], np.zeros(0, int)), "at least one"),
        ((INPUTS[:, None], np.zeros(5, int)), r"shape \(1,\), one of the forget set \(\)"),
    ],
)
def test_what_are_no_examples_is_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        run(wanted, on_chunk=never)


def test_a_method_that_goes_back_has_to_know_where_to():
    method = fj.methods.fine_tuning()._replace(rewinds=True)
    with pytest.raises(ValueError, match=r"'fine-tuning' goes back .* pass rewind_to="):
        run(None, method=method, forget="not even looked at")
    assert run(0.2, method=method).rewound_to == 2


def test_it_says_what_it_needs_to_measure_an_error():
    with pytest.raises(ValueError, match="pass predict_fn="):
        run(0.5, predict_fn=None)
    for forget in ({"x": INPUTS}, (INPUTS, INPUTS), (INPUTS, np.zeros((5, 2), int))):
        with pytest.raises(ValueError, match=r"pairs \(inputs, integer labels\)"):
            run(0.5, forget=forget)


class TestOnDisk:
    @pytest.mark.parametrize(
        ("wanted", "kept", "goes_back_to"),
        [(0.2, [2], 2), (held_out(1, 2), [2, 4, 6], 4)],
        ids=["number", "examples"],
    )
    @pytest.mark.parametrize("optimizer", [SGD, jitter()], ids=["sgd", "keys"])
    def test_an_interrupted_run_goes_back_like_an_undisturbed_one(
        self, wanted, kept, goes_back_to, optimizer, tmp_path
    ):
        given = {"wanted": wanted, "optimizer": optimizer}
        disk = {"checkpoint": tmp_path / "run", "checkpoint_every": 0, "resume": True}
        whole = run(**given)
        assert whole.rewound_to == goes_back_to
        for step in (4, 8):
            with pytest.raises(Interrupted):
                run(**given, **disk, on_chunk=interrupt_at(step))
        assert read_saved(tmp_path / "run").step == 6
        assert [step for step, _ in read_saved(tmp_path / "run").looks] == kept
        assert_same(run(**given, **disk), whole)
        assert [place.name for place in tmp_path.iterdir()] == ["run"]

    def test_a_finished_run_holds_one_look_and_is_not_written_again(self, tmp_path, monkeypatch):
        given = {"wanted": held_out(1, 2), "checkpoint": tmp_path / "run", "checkpoint_every": 0}
        whole = run(**given)
        assert [tuple(look) for look in read_saved(tmp_path / "run").looks] == [(4, "2/5")]
        monkeypatch.setattr(saved_run, "save_tree", never)
        assert_same(run(**given, resume=True, on_chunk=never), whole)

    def test_a_kill_before_the_choice_was_written_changes_nothing(self, tmp_path, monkeypatch):
        given = {"wanted": held_out(1, 2), "checkpoint": tmp_path / "run", "checkpoint_every": 0}
        with monkeypatch.context() as patch:
            patch.setattr(Rewind, "chosen", lambda *_: interrupt_at(1)(1, None))
            with pytest.raises(Interrupted):
                run(**given)
        assert len(read_saved(tmp_path / "run").looks) == 4
        assert_same(run(**given, resume=True, on_chunk=never), run(held_out(1, 2)))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"wanted": held_out(2, 1)}, "digest of the held-out examples was '.*', is"),
            ({"wanted": 0.5}, "rewind_to was not there, is 0.5"),
            ({"wanted": None}, "the held-out examples was '.*', is not there"),
            ({"chunk_size": 5}, "chunk_size was 2, is 5"),
        ],
    )
    def test_another_way_back_is_another_run(self, changes, message, tmp_path):
        given = {"wanted": held_out(1, 2), "checkpoint": tmp_path / "run"}
        with pytest.raises(Interrupted):
            run(**given, on_chunk=interrupt_at(4))
        with pytest.raises(ValueError, match=message):
            run(**{**given, **changes}, resume=True, on_chunk=never)

    def test_a_run_that_failed_at_once_fails_again(self, tmp_path):
        def bad(b, example):
            return b + jnp.nan

        given = {"wanted": held_out(1, 2), "checkpoint": tmp_path / "run", "loss": bad}
        for resume in (False, True):
            with pytest.warns(RuntimeWarning, match="after 0 steps"):
                result = run(**given, resume=resume)
            assert (result.rewound_to, float(result.params)) == (0, 0)
