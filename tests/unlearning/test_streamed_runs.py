"""Runs whose sets come in batches."""

import itertools
import zlib

import chex
import jax
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import feasible_jax as fj
from feasible_jax.methods import Method, Prepared, gradient_ascent, neg_grad_plus
from feasible_jax.unlearning.batches import draw_batch

OPTIMIZER = optax.sgd(0.05, momentum=0.9)
FEASIBILITY = optax.chain(
    fj.feasible_updates(decrease="retain", confidence=0.6),
    fj.certify_updates(decrease="retain", tolerance=0.05, test="student", backtrack=0),
)
SIZE, STEPS = 8, 7


@pytest.fixture
def run(loss, params, sets):
    def run(**kwargs):
        defaults = {
            "method": neg_grad_plus(0.5), "optimizer": OPTIMIZER, "feasibility": FEASIBILITY,
            "steps": STEPS, "batch_size": SIZE, "certify_batch_size": SIZE, "chunk_size": 3,
            "progress": False,
        }  # fmt: skip
        return fj.unlearn(loss, params, **{**sets, **defaults, **kwargs})

    return run


def drawn_like_a_run(sets, name, seed=0):
    """The batches that a run on sets in memory draws: one that chooses, one that certifies."""
    key = jax.random.key(seed)
    number = zlib.crc32(name.encode())
    while True:
        key, batch_key, _ = jax.random.split(key, 3)
        chosen = jax.random.fold_in(batch_key, number)
        for here in [chosen, jax.random.fold_in(chosen, 1)][: 2 if name == "retain" else 1]:
            yield jax.tree.map(np.asarray, draw_batch(here, sets[name], SIZE))


@pytest.fixture
def retain(sets):
    return lambda: drawn_like_a_run(sets, "retain")


@pytest.fixture
def whole(run):
    return run()


def test_a_run_on_streams_is_one_on_sets_that_draws_the_same(run, sets, retain, whole):
    assert 0 < whole.history.certificates.accepted.mean() < 1, "it would show nothing otherwise"
    for streams in (
        {"retain": retain()},
        {"retain": retain(), "forget": drawn_like_a_run(sets, "forget")},
    ):
        got = run(**streams)
        chex.assert_trees_all_close(got.params, whole.params, rtol=1e-6)
        chex.assert_trees_all_close(got.history, whole.history, rtol=1e-5, atol=1e-7)
        assert got.stop is None


@pytest.mark.slow  # test_feed.py looks at how they lie
def test_batches_of_streams_are_spread_over_a_mesh(run, retain, whole):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    got = run(retain=retain(), batch_sharding=NamedSharding(mesh, P("data")))
    chex.assert_trees_all_close(got.params, whole.params, rtol=1e-5, atol=1e-6)


def test_an_interrupted_run_is_fed_what_comes_next(run, retain, whole, tmp_path):
    class Interrupted(Exception):
        """The caller fails."""

    def fail(step, params):
        if step == 6:
            raise Interrupted

    saves = {"checkpoint": tmp_path / "run", "checkpoint_every": 0, "resume": True}
    with pytest.raises(Interrupted):
        run(retain=retain(), on_chunk=fail, **saves)
    resumed = run(retain=retain(), **saves)
    assert len(resumed.history.kept) == STEPS
    chex.assert_trees_all_close(resumed.params, whole.params, rtol=1e-6)
    with pytest.raises(ValueError, match="digest of the retain set"):
        run(retain=itertools.islice(retain(), 2, None), **saves)


def test_a_stream_that_ends_ends_the_run(run, retain):
    short = itertools.islice(retain(), 9)
    with pytest.warns(RuntimeWarning, match="retain stream ended after 9 batches.*4 of 7 steps"):
        result = run(retain=short)
    assert result.stop == (4, "the retain stream ended after 9 batches")
    assert result.history.kept.shape == (4,)
    chex.assert_trees_all_close(result.params, run(retain=retain(), steps=4).params)
    with pytest.warns(RuntimeWarning, match="6 of 7 steps"):  # at the end of a chunk
        assert run(retain=itertools.islice(retain(), 12)).stop.step == 6


def test_epochs_of_a_loader(run, retain):
    batches = list(itertools.islice(retain(), 5))

    class Loader:
        def __iter__(self):
            return iter(batches)

    got = run(retain=Loader())
    assert got.stop is None
    chex.assert_trees_all_close(got.params, run(retain=itertools.cycle(batches)).params)


def test_a_last_batch_that_is_smaller_is_an_error(run, retain, sets):
    batches = itertools.islice(retain(), 6)
    small = jax.tree.map(lambda leaf: leaf[:3], sets["retain"])
    with pytest.raises(ValueError, match=r"retain stream, batch 7: .*\(3, 3\).*Leave out"):
        run(retain=itertools.chain(batches, [small]))


def unused():
    raise AssertionError("a batch was read that no step needs")
    yield


def test_a_set_that_no_step_needs_may_be_a_stream(run, sets):
    """Only its first batch is looked at."""
    only = itertools.chain([sets["retain"]], unused())
    assert run(method=gradient_ascent(), feasibility=None, retain=only).stop is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"retain": iter([])}, "retain stream ended after 0 batches"),
        (
            {
                "retain": iter([(np.ones((1, 3), "f"), np.ones(1, "f"))] * 3),
                "feasibility": fj.feasible_updates(decrease="retain"),
            },
            "retain stream: a variance needs batches of at least 2",
        ),
        (
            {
                "retain": iter([(np.ones((2, 3), "f"), np.ones(2, "f"))]),
                "method": Method("own", (), (), lambda *_: 0.0, prepare=lambda *_: Prepared()),
            },
            "prepares from whole sets, and retain comes in batches",
        ),
    ],
)
def test_mistakes_are_found_before_any_work(given, message, run):
    with pytest.raises(ValueError, match=message):
        run(**given)


def test_grain_feeds_a_run(run, sets):
    """Shuffled anew at each epoch, as the Grain documentation has it."""
    grain = pytest.importorskip("grain")
    inputs, targets = sets["retain"]

    def stream():
        source = [(inputs[i], targets[i]) for i in range(len(targets))]
        batches = grain.MapDataset.source(source).seed(0).shuffle().repeat()
        return batches.batch(SIZE, drop_remainder=True).to_iter_dataset()

    one, other = run(retain=stream()), run(retain=stream())
    assert one.stop is None
    assert 0 < one.history.kept.mean() < 1
    chex.assert_trees_all_equal(one.params, other.params)
