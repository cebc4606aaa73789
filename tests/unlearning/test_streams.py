import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.unlearning.sets import join_sets
from feasible_jax.unlearning.streams import Stream, StreamEnded, first_batches, is_stream
from feasible_jax.unlearning.task import Examples


class Loader:
    """Begins anew each time, as loaders of every library do."""

    def __init__(self, *batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def numbers(*values):
    return [np.array([value, value], np.float32) for value in values]


@pytest.mark.parametrize(
    "given",
    [
        iter([np.ones(2)]),
        (np.ones(2) for _ in range(3)),
        Loader(),
        map(np.ones, [2]),
        {1},
        range(3),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_yields_batches_is_a_stream(given):
    assert is_stream(given)


@pytest.mark.parametrize(
    "given",
    [
        np.ones(2), jnp.ones(2), [np.ones(2)], (np.ones(2), np.ones(2)), {"x": np.ones(2)},
        Examples(np.ones((2, 1)), np.ones(2)), jax.ShapeDtypeStruct((2,), "float32"), "forget", 3,
        None, (),
    ],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
def test_trees_of_arrays_are_none(given):
    assert not is_stream(given)


def test_an_iterator_ends():
    stream = Stream("retain", iter(numbers(1, 2)))
    assert [stream.take()[0] for _ in range(2)] == [1, 2]
    with pytest.raises(StreamEnded, match="retain stream ended after 2 batches"):
        stream.take()


def test_what_can_begin_anew_does():
    stream = Stream("retain", Loader(*numbers(1, 2, 3)))
    assert [stream.take()[0] for _ in range(7)] == [1, 2, 3, 1, 2, 3, 1]
    with pytest.raises(StreamEnded, match="after 0 batches"):
        Stream("retain", Loader()).take()


@pytest.mark.parametrize("peek", [False, True])
def test_batches_may_be_left_out(peek):
    stream = Stream("retain", Loader(*numbers(1, 2, 3)))
    if peek:
        assert stream.peek()[0] == stream.peek()[0] == 1
        assert stream.taken == 0
    stream.skip(4)
    assert (stream.taken, stream.take()[0]) == (4, 2)


def test_a_loader_may_use_its_buffers_again():
    buffer = np.zeros(2, np.float32)

    def batches():
        for value in (1, 2, 3):
            buffer[:] = value
            yield {"x": buffer}

    stream = Stream("retain", batches())
    taken = [stream.take()["x"] for _ in range(3)]
    assert [x[0] for x in taken] == [1, 2, 3]


def test_arrays_come_as_jax_holds_them():
    on_device = jnp.ones(2)
    batch = Stream("a", iter([(np.ones(2), on_device)])).take()
    assert batch[0].dtype == np.float32
    assert batch[1] is on_device


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (np.ones(3, np.float32), r"retain stream, batch 2: its arrays are .*\(3,\).*smaller"),
        (np.ones(2, np.int32), "batch 2.*int32.*float32"),
        ({"x": np.ones(2, np.float32)}, "batch 2"),
        (np.float32(1), "batch 2.*leading axis"),
    ],
)
def test_another_shape_is_an_error_that_says_where(second, message):
    stream = Stream("retain", iter([np.ones(2, np.float32), second]))
    stream.take()
    with pytest.raises(ValueError, match=message):
        stream.take()


def test_a_first_batch_is_looked_at_before_any_work():
    assert first_batches({"a": Stream("a", iter(numbers(5)))})["a"][0] == 5
    with pytest.raises(ValueError, match="a stream ended after 0 batches"):
        first_batches({"a": Stream("a", iter([]))})
    with pytest.raises(ValueError, match=r"a stream, batch 1: .*leading axis"):
        first_batches({"a": Stream("a", iter([3.0]))})


def test_sets_and_streams_are_joined():
    sets = join_sets(iter(numbers(1)), np.ones((3, 2)), {"group": Loader()})
    assert [isinstance(given, Stream) for given in sets.values()] == [True, False, True]
    one = iter(numbers(1))
    with pytest.raises(ValueError, match="forget and the group set are one and the same stream"):
        join_sets(one, np.ones((3, 2)), {"group": one})


def test_a_batch_with_nan_is_named():
    bad = np.ones((3, 2), np.float32)
    bad[2, 1] = np.nan
    stream = Stream("retain", iter([{"x": np.ones((3, 2), np.float32)}, {"x": bad}]))
    stream.take()
    with pytest.raises(ValueError, match=r"retain stream, batch 2: retain\['x'\]\[2\] holds NaN"):
        stream.take()
