import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from feasible_jax.unlearning.batches import Layout
from feasible_jax.unlearning.feed import Feed, Role
from feasible_jax.unlearning.streams import Stream

BOTH, CHOOSES, CERTIFIES = Role(True, True), Role(True, False), Role(False, True)


def numbered(size=2):
    return ({"x": np.full(size, i, np.float32)} for i in itertools.count())


def feed(batches, role=BOTH, certify_batch_size=2, sets=(), mesh=None, layout=None):
    streams = {"retain": Stream("retain", batches)}
    return Feed(dict(sets), streams, {"retain": role}, certify_batch_size, mesh, layout)


def values(part):
    return None if part is None else part["x"].tolist()


@pytest.mark.parametrize(
    ("role", "first", "second"),
    [
        (BOTH, ([0, 0], [1, 1, 2, 2]), ([3, 3], [4, 4, 5, 5])),
        (CHOOSES, ([0, 0], None), ([1, 1], None)),
        (CERTIFIES, (None, [0, 0, 1, 1]), (None, [2, 2, 3, 3])),
        (Role(False, False), (None, None), (None, None)),
    ],
)
def test_no_batch_is_used_twice(role, first, second):
    take = feed(numbered(), role, certify_batch_size=3, sets={"forget": 7})
    for want in (first, second):
        data = take()
        assert data["forget"] == 7
        assert tuple(map(values, data["retain"])) == want


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_resumed_run_goes_on_with_what_comes_next(steps):
    whole, rest = feed(numbered()), feed(numbered())
    for _ in range(steps):
        whole()
    rest.skip(steps)
    assert tuple(map(values, whole()["retain"])) == tuple(map(values, rest()["retain"]))


def test_the_end_is_told():
    take = feed(itertools.islice(numbered(), 5))
    assert [take() is None for _ in range(2)] == [False, False]
    assert take.ended is None
    assert take() is None
    assert take.ended == "the retain stream ended after 5 batches"
    with pytest.raises(ValueError, match="2 batches, but 3 steps were taken"):
        feed(itertools.islice(numbered(), 2)).skip(3)


def test_too_little_for_one_step():
    with pytest.raises(ValueError, match="ended after 2 batches: one step takes more"):
        feed(itertools.islice(numbered(), 2), certify_batch_size=4)


class TestIndependence:
    """A certificate that is shown the batch that chose the update certifies nothing."""

    @pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
    def test_a_batch_given_twice_is_refused(self, kind):
        batch = {"x": kind(np.arange(2.0))}
        with pytest.raises(ValueError, match="retain stream gave a batch for the certificate that"):
            feed(itertools.repeat(batch))

    def test_also_an_equal_copy_and_an_epoch_too_short(self):
        class Epochs:
            def __iter__(self):
                return itertools.islice(numbered(), 3)

        assert feed(Epochs(), certify_batch_size=4)()
        with pytest.raises(ValueError, match="retain stream gave a batch for the certificate that"):
            feed(Epochs(), certify_batch_size=6)

    def test_what_only_chooses_may_repeat(self):
        assert feed(itertools.repeat({"x": np.arange(2.0)}), CHOOSES)()


class TestMeshes:
    MESH = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    ROWS = NamedSharding(MESH, P("data"))
    LAYOUT = Layout(ROWS, frozenset())

    def test_batches_are_spread(self):
        take = feed(numbered(8), certify_batch_size=9, mesh=self.MESH, layout=self.LAYOUT)
        choosing, certifying = take()["retain"]
        assert choosing["x"].sharding == certifying["x"].sharding == self.ROWS
        assert certifying["x"].tolist() == [1] * 8 + [2] * 8

    def test_or_whole_on_every_device(self):
        choosing, _ = feed(numbered(), mesh=self.MESH)()["retain"]
        assert choosing["x"].sharding == NamedSharding(self.MESH, P())

    def test_batches_that_are_there_already_stay(self):
        there = [{"x": jax.device_put(np.full(8, i, np.float32), self.ROWS)} for i in range(3)]
        take = feed(iter(there), certify_batch_size=8, mesh=self.MESH, layout=self.LAYOUT)
        choosing, certifying = take()["retain"]
        assert choosing["x"] is there[0]["x"]
        assert certifying["x"] is there[1]["x"]
        with pytest.raises(ValueError, match=r"batches of 8 examples that are on a mesh.*=9"):
            feed(iter(there), certify_batch_size=9, mesh=self.MESH, layout=self.LAYOUT)

    def test_they_have_to_divide(self):
        with pytest.raises(ValueError, match=r"retain stream.*=6: .*8 shards"):
            feed(numbered(6), mesh=self.MESH, layout=self.LAYOUT)
