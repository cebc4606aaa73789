import numpy as np
import pytest

from feasible_jax.unlearning.history import history_of
from feasible_jax.unlearning.step import Record


def record(first, alive):
    steps = np.arange(first, first + len(alive), dtype=np.float32)
    return Record(
        losses={"forget": steps}, kept=steps / 10, kept_per_leaf={"w": -steps},
        pass_rate={"retain": steps + 1}, abstained=steps > 3, certificate={}, alive=np.array(alive),
    )  # fmt: skip


def test_chunks_are_joined_in_order():
    history = history_of([record(0, [True] * 3), record(3, [True] * 2)])
    np.testing.assert_array_equal(history.losses["forget"], np.arange(5))
    np.testing.assert_allclose(history.kept, np.arange(5) / 10, rtol=1e-6)
    np.testing.assert_array_equal(history.kept_per_leaf["w"], -np.arange(5))
    np.testing.assert_array_equal(history.pass_rate["retain"], np.arange(1, 6))


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_steps_that_were_not_taken_are_left_out(taken):
    history = history_of([record(0, [i < taken for i in range(3)])])
    assert len(history.kept) == taken
    np.testing.assert_array_equal(history.losses["forget"], np.arange(taken))
