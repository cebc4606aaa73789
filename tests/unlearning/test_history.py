import numpy as np
import pytest

from feasible_jax.unlearning.history import history_of
from feasible_jax.unlearning.step import Record


def record(first, alive, certificate=None, mask=None):
    steps = np.arange(first, first + len(alive), dtype=np.float32)
    return Record(
        losses={"forget": steps}, kept=steps / 10, kept_per_leaf={"w": -steps},
        pass_rate={"retain": steps + 1}, abstained=steps > 3,
        mask=mask or {}, certificate=certificate or {}, alive=np.array(alive),
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


def test_levels_and_estimates_of_a_mask_are_joined_and_cut_like_all_else():
    def chunk(first, alive):
        steps = np.arange(first, first + len(alive), dtype=np.float32)
        return record(first, alive, mask={"level": steps / 100, "expected_false": 5 - steps})

    history = history_of([chunk(0, [True] * 3), chunk(3, [True, False])])
    np.testing.assert_allclose(history.level, np.arange(4) / 100, rtol=1e-6)
    np.testing.assert_array_equal(history.expected_false, 5 - np.arange(4))
    plain = history_of([record(0, [True])])
    assert (plain.level, plain.expected_false) == (None, None)


def test_certificates_are_joined_and_cut_like_all_else():
    def chunk(first, alive):
        steps = np.arange(first, first + len(alive), dtype=np.float32)
        certificate = {
            "accepted": steps > 1, "scale": steps, "level": steps / 100,
            "p_value": {"retain": steps / 10},
        }  # fmt: skip
        return record(first, alive, certificate)

    history = history_of([chunk(0, [True] * 3), chunk(3, [True, False])], "enough")
    assert history.certificates is not None
    assert history.certificates.accepted.tolist() == [False, False, True, True]
    np.testing.assert_array_equal(history.certificates.scale, np.arange(4))
    np.testing.assert_allclose(history.certificates.p_value["retain"], np.arange(4) / 10)
    assert history.stop == "enough"
    assert history_of([record(0, [True])]).certificates is None
