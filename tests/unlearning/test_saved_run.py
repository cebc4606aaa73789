import gc
import resource
import shutil
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.methods import gradient_ascent, neg_grad_plus
from feasible_jax.unlearning import save_params, saved_run
from feasible_jax.unlearning.saved_run import read_saved

HEAVY = optax.sgd(0.05, momentum=0.9)
MASK = fj.feasible_updates(
    decrease=("retain",),
    confidence=0.7,
    rule=fj.coordinatewise(curvature="adaptive", soft=True, evidence_decay=0.9),
)
CERTIFY = fj.certify_updates(
    decrease=("retain",), confidence=0.5, tolerance=0.01, test="student", backtrack=1,
    spending=fj.online_fdr(),
)  # fmt: skip
EVERYTHING = {"optimizer": HEAVY, "feasibility": optax.chain(MASK, CERTIFY)}


@pytest.fixture
def run(loss, params, sets):
    def run(**kwargs):
        defaults = {
            "method": neg_grad_plus(0.5), "optimizer": HEAVY, "steps": 10, "batch_size": 6,
            "certify_batch_size": 8, "chunk_size": 3, "checkpoint_every": 0, "progress": False,
        }  # fmt: skip
        given = {**sets, **defaults, **kwargs}
        return fj.unlearn(given.pop("loss", loss), given.pop("params", params), **given)

    return run


class Interrupted(Exception):
    """Something of the caller's fails."""


def interrupt_at(step):
    def on_chunk(taken, params):
        if taken == step:
            raise Interrupted

    return on_chunk


def never(taken, params):
    raise AssertionError("a step was taken")


def assert_same(one, other):
    """Bit for bit, whatever is in the result."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if isinstance(a, str | int):
            assert a == b
            continue
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def convolution(params, example):
    inputs, target = example
    out = jax.lax.conv(inputs[None, None], params["w"][None, None], (1,), "SAME")
    return 0.5 * (jnp.sum(jnp.tanh(out)) + params["b"] - target) ** 2


def jitter():
    """An optimizer whose state is a random key."""

    def update(updates, key, params=None):
        key, now = jax.random.split(key)
        return jax.tree.map(lambda u: u + 0.1 * jax.random.normal(now, u.shape), updates), key

    return optax.GradientTransformation(lambda params: jax.random.key(1), update)


def with_more(loss):
    """Parameters that are weakly typed, or empty."""
    return lambda params, example: loss({k: params[k] for k in "bw"}, example)


CASES = {
    "everything": EVERYTHING,
    "dispatched, ending within a chunk": {"loss": convolution, "chunk_size": 4},
    "keys in the state, of another kind": {
        "optimizer": optax.chain(jitter(), HEAVY),
        "key": jax.random.key(3, impl="rbg"),
    },
}


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_run_ends_like_an_undisturbed_one(case, run, tmp_path):
    settings = CASES[case]
    whole, folder, size = run(**settings), tmp_path / "run", settings.get("chunk_size", 3)
    with pytest.raises(Interrupted):
        run(**settings, checkpoint=folder, on_chunk=interrupt_at(size))
    assert read_saved(folder).step == 0
    with pytest.raises(Interrupted):
        run(**settings, checkpoint=folder, resume=True, on_chunk=interrupt_at(2 * size))
    assert read_saved(folder)[:3] == (size, 10, None)
    resumed = run(**settings, checkpoint=folder, resume=True)
    assert_same(resumed, whole)
    assert resumed.history.kept.shape == (10,)


def test_the_test_of_everything_shows_something(run):
    history = run(**EVERYTHING).history
    assert 0 < history.certificates.accepted.mean() < 1
    assert 0 < history.kept.mean() < 1


def test_weakly_typed_and_empty_parameters_come_back(run, loss, params, tmp_path):
    params = {**params, "b": 0.5, "none": np.zeros((0, 2), np.float32)}
    settings = {"loss": with_more(loss), "params": params}
    whole = run(**settings)
    with pytest.raises(Interrupted):
        run(**settings, checkpoint=tmp_path / "run", on_chunk=interrupt_at(6))
    assert_same(run(**settings, checkpoint=tmp_path / "run", resume=True), whole)


class TestAFinishedRun:
    def test_resumed_takes_away_what_its_last_write_left(self, run, tmp_path):
        run(checkpoint=tmp_path / "run")
        for left in (".run.old", ".run.new"):  # killed while the one before was being removed
            shutil.copytree(tmp_path / "run", tmp_path / left)
        run(checkpoint=tmp_path / "run", resume=True, on_chunk=never)
        assert [p.name for p in tmp_path.iterdir()] == ["run"]

    def test_is_found_between_two_renames_and_put_in_place(self, run, tmp_path):
        whole = run(checkpoint=tmp_path / "run")
        (tmp_path / "run").rename(tmp_path / ".run.old")
        assert_same(run(checkpoint=tmp_path / "run", resume=True, on_chunk=never), whole)
        assert [p.name for p in tmp_path.iterdir()] == ["run"]

    def test_is_not_run_again(self, run, tmp_path):
        whole = run(checkpoint=tmp_path / "run")
        assert read_saved(tmp_path / "run").finished
        assert_same(run(checkpoint=tmp_path / "run", resume=True, on_chunk=never), whole)

    def test_stays_ended_for_the_same_reason(self, run, tmp_path):
        ended = run(checkpoint=tmp_path / "run", on_chunk=lambda taken, params: taken == 6)
        assert ended.stop == (6, "on_chunk asked to stop")
        again = run(checkpoint=tmp_path / "run", resume=True, on_chunk=never)
        assert_same(again, ended)

    def test_that_failed_at_once_fails_again(self, run, sets, tmp_path):
        bad = {"forget": (sets["forget"][0], np.full(7, np.inf, np.float32))}
        for resume in (False, True):
            with pytest.warns(RuntimeWarning, match="after 0 steps"):
                result = run(**bad, checkpoint=tmp_path / "run", resume=resume)
            assert result.history.kept.shape == (0,)


class TestWhatIsRefused:
    @pytest.fixture
    def begun(self, run, tmp_path):
        with pytest.raises(Interrupted):
            run(checkpoint=tmp_path / "run", on_chunk=interrupt_at(6))
        return tmp_path / "run"

    def test_to_begin_where_a_run_is(self, run, begun):
        with pytest.raises(FileExistsError, match=r"run holds a run after 3 of 10 steps: resume"):
            run(checkpoint=begun, on_chunk=never)
        assert read_saved(begun).step == 3

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"steps": 11}, "steps was 10, is 11"),
            ({"batch_size": 7}, "batch_size was 6, is 7"),
            ({"method": gradient_ascent()}, "method was 'NegGrad.', is 'gradient ascent'"),
            ({"method": neg_grad_plus(0.25)}, r"weights was \[.*\], is \["),
            ({"key": 1}, "digest of the key was"),
            ({"params": {"b": np.float32(0.5), "w": np.ones(3, np.float32)}}, "the parameters was"),
            ({"retain": (np.ones((30, 3)), np.ones(30))}, "the digest of the retain set was"),
            ({"constraint_data": {"group": np.ones((2, 3))}}, "the group set was not there"),
        ],
    )
    def test_other_settings(self, changes, message, run, begun):
        with pytest.raises(ValueError, match=message) as error:
            run(**changes, checkpoint=begun, resume=True, on_chunk=never)
        assert str(begun) in str(error.value)
        assert "choose another folder" in str(error.value)

    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            (
                fj.feasible_updates("retain", confidence=0.9),
                r"mask 1, confidence was 0\.95, is 0\.9",
            ),
            (fj.feasible_updates("retain", test="normal"), "mask 1, test was 'student', is 'norm"),
            (fj.feasible_updates(increase="retain"), r"decrease was \['retain'\], is \[\]"),
            (
                fj.feasible_updates("retain", rule=fj.coordinatewise(multiplicity="bonferroni")),
                "rule was 'coordinatewise', is 'coordinatewise, bonferroni'",
            ),
            (None, "mask 1, confidence was 0.95, is not there"),
        ],
    )
    def test_another_mask(self, mask, message, run, tmp_path):
        given = {"checkpoint": tmp_path / "run", "steps": 10}
        with pytest.raises(Interrupted):
            run(feasibility=fj.feasible_updates("retain"), on_chunk=interrupt_at(3), **given)
        with pytest.raises(ValueError, match=message):
            run(feasibility=mask, resume=True, on_chunk=never, **given)

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("tolerance", 0.5, r"certificate 1, tolerance was 0\.0, is 0\.5"),
            ("backtrack", 2, "certificate 1, backtrack was"),
            ("change", "direction", "certificate 1, evidence was 'loss', is 'direction'"),
        ],
    )
    def test_another_certificate(self, name, value, message, run, tmp_path):
        given = {"checkpoint": tmp_path / "run", "steps": 10}
        with pytest.raises(Interrupted):
            run(feasibility=fj.certify_updates("retain"), on_chunk=interrupt_at(3), **given)
        other = fj.certify_updates("retain", **{name: value})
        with pytest.raises(ValueError, match=message):
            run(feasibility=other, resume=True, on_chunk=never, **given)

    def test_hyperparams_of_another_value(self, run, tmp_path):
        tx = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)
        run(optimizer=tx, hyperparams={"learning_rate": 0.5}, checkpoint=tmp_path / "run")
        with pytest.raises(ValueError, match=r"learning_rate was 0\.5, is 0\.25"):
            run(
                optimizer=tx, hyperparams={"learning_rate": 0.25}, checkpoint=tmp_path / "run",
                resume=True,
            )  # fmt: skip

    def test_another_optimizer_by_its_leaf(self, run, begun):
        with pytest.raises(ValueError, match=r"'state/opt_state/0/trace/b' the checkpoint has sh"):
            run(optimizer=optax.sgd(0.05), checkpoint=begun, resume=True, on_chunk=never)

    def test_a_truncated_file_by_its_name(self, run, begun):
        arrays = [p for p in begun.rglob("*") if p.is_file() and p.name != "manifest.json"]
        largest = max(arrays, key=lambda p: p.stat().st_size)
        content = largest.read_bytes()
        largest.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match="damaged") as error:
            run(checkpoint=begun, resume=True, on_chunk=never)
        for part in (str(begun), largest.name, "delete it"):
            assert part in str(error.value)
        largest.write_bytes(content)
        assert run(checkpoint=begun, resume=True).history.kept.shape == (10,)

    def test_what_is_no_run(self, run, params, tmp_path):
        save_params(tmp_path / "params", params)
        (tmp_path / "diary").mkdir()
        (tmp_path / "diary" / "today.txt").write_text("dear diary")
        for name, message in (("params", "parameters, not a run"), ("diary", "not a checkpoint")):
            for resume in (True, False):
                with pytest.raises(ValueError, match=rf"{name}.*{message}"):
                    run(checkpoint=tmp_path / name, resume=resume, on_chunk=never)
        assert (tmp_path / "diary" / "today.txt").read_text() == "dear diary"

    def test_wrong_arguments(self, run, tmp_path):
        with pytest.raises(ValueError, match="needs a checkpoint"):
            run(resume=True)
        with pytest.raises(ValueError, match="checkpoint_every=-1"):
            run(checkpoint=tmp_path / "run", checkpoint_every=-1)
        with pytest.raises(ValueError, match="checkpoint_every=None"):
            run(checkpoint=tmp_path / "run", checkpoint_every=None)

    def test_two_leaves_of_one_name(self, run, loss, tmp_path):
        params = {"a/b": np.ones(3, np.float32), "a": {"b": np.float32(0)}}

        def renamed(params, example):
            return loss({"w": params["a/b"], "b": params["a"]["b"]}, example)

        with pytest.raises(ValueError, match="two leaves are called 'state/params/a/b'"):
            run(loss=renamed, params=params, checkpoint=tmp_path / "run", on_chunk=never)


# Orbax leaves tasks of a closed loop behind where it fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
# Where a write fails, threads of Orbax are left with an event loop that is closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestADiskThatIsFull:
    """No file may grow beyond a size: the system's own calls fail, as on a full disk."""

    @pytest.fixture
    def full(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

        def fill(size=500):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

        yield fill
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        gc.collect()

    def test_is_found_before_the_first_step(self, run, tmp_path, full):
        full()
        with pytest.raises(OSError, match=r"run cannot be written \(File too large\): free some"):
            run(checkpoint=tmp_path / "run", on_chunk=never)
        assert list(tmp_path.iterdir()) == []

    def test_loses_nothing_of_a_run_under_way(self, run, tmp_path, full):
        whole = run()

        def on_chunk(taken, params):
            if taken == 6:
                full()

        with pytest.raises(OSError, match="free some space and run the same again"):
            run(checkpoint=tmp_path / "run", on_chunk=on_chunk)
        full(resource.RLIM_INFINITY)
        assert read_saved(tmp_path / "run").step == 3
        assert [place.name for place in tmp_path.iterdir()] == ["run"]
        assert_same(run(checkpoint=tmp_path / "run", resume=True), whole)


def test_a_folder_that_cannot_be_written_to_is_found_before_the_first_step(run, read_only):
    folder = read_only()
    with pytest.raises(PermissionError, match="choose another folder, or change its") as error:
        run(checkpoint=folder / "new" / "run", on_chunk=never)
    assert str(folder) in str(error.value)
    assert list(folder.iterdir()) == []


class TestCtrlC:
    def test_keeps_the_steps_taken(self, run, tmp_path):
        whole = run()

        def on_chunk(taken, params):
            if taken == 9:
                signal.raise_signal(signal.SIGINT)

        # Written at the end alone, but for the interruption.
        never_due = {"checkpoint_every": 1e9, "checkpoint": tmp_path / "run"}
        with pytest.raises(KeyboardInterrupt):
            run(**never_due, on_chunk=on_chunk)
        assert read_saved(tmp_path / "run").step == 6
        assert_same(run(**never_due, resume=True), whole)

    def test_waits_for_a_checkpoint_being_written(self, run, tmp_path, monkeypatch):
        from orbax.checkpoint import v1 as ocp

        save, calls = ocp.save, []

        def interrupted(*args):
            calls.append(None)
            if len(calls) == 3:
                signal.raise_signal(signal.SIGINT)
                time.sleep(0.01)
            save(*args)

        monkeypatch.setattr(ocp, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(checkpoint=tmp_path / "run")
        assert read_saved(tmp_path / "run").step == 6
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(("every", "written"), [(0, 5), (1e9, 2)])
def test_it_is_written_as_often_as_asked(every, written, run, tmp_path, monkeypatch):
    calls, save = [], saved_run.save_tree
    monkeypatch.setattr(
        saved_run, "save_tree", lambda *args: (calls.append(args[2]["run"]["step"]), save(*args))
    )
    run(checkpoint=tmp_path / "run", checkpoint_every=every)
    assert calls == [0, 3, 6, 9, 10] if every == 0 else [0, 10]
    assert len(calls) == written


def test_a_copy_of_the_folder_is_a_run_too(run, tmp_path):
    whole = run()
    with pytest.raises(Interrupted):
        run(checkpoint=tmp_path / "run", on_chunk=interrupt_at(6))
    shutil.copytree(tmp_path / "run", tmp_path / "elsewhere" / "copy")
    assert_same(run(checkpoint=tmp_path / "elsewhere" / "copy", resume=True), whole)


def test_a_bar_begins_where_the_run_stands(run, tmp_path, monkeypatch, capsys):
    import rich.console

    with pytest.raises(Interrupted):
        run(checkpoint=tmp_path / "run", on_chunk=interrupt_at(9))

    class Terminal(rich.console.Console):
        def __init__(self, **kwargs):
            super().__init__(**kwargs, force_terminal=True, width=160)

    monkeypatch.setattr(rich.console, "Console", Terminal)
    run(checkpoint=tmp_path / "run", resume=True, progress=True)
    text = capsys.readouterr().err
    assert "6/10" in text
    assert "10/10" in text
