from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import feasible_jax as fj
from feasible_jax.data import SCENARIOS, Dataset, make_split
from feasible_jax.experiments.held_out import held_out_like_forget


def numbered(labels, first=0):
    """Every input is a number of its own."""
    labels = np.asarray(labels, np.int32)
    return fj.Examples(np.float32(np.arange(first, first + len(labels)))[:, None], labels)


def make_task(forget, validation, num_classes=5, **changes):
    return fj.Task(
        name="numbers", loss_fn=lambda params, example: 0.0, predict_fn=lambda params, x: x,
        params=np.zeros(1), forget=forget, retain=forget, validation=validation, test=validation,
        num_classes=num_classes, **changes,
    )  # fmt: skip


def pairs(true, given):
    return Counter(zip(np.asarray(true).tolist(), np.asarray(given).tolist(), strict=True))


@pytest.fixture
def split_of():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(5), (160, 80, 60, 50, 50)))
    data = Dataset("numbers", tuple("01234"), numbered(labels), numbered(np.arange(50) % 5, 400))
    return lambda scenario: make_split(data, scenario, fraction=0.3, forget_class=3)


def task_of(split):
    return make_task(
        split.forget, split.validation, forget_true_labels=split.forget_true_labels,
        forget_validation=split.forget_validation,
    )  # fmt: skip


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_labels_are_as_frequent_as_in_the_forget_set(scenario, split_of):
    split = split_of(scenario)
    held_out = held_out_like_forget(task_of(split))
    true = split.forget.labels if scenario != "corrupted_labels" else split.forget_true_labels
    truth = dict(zip(split.validation.inputs[:, 0], split.validation.labels, strict=True))
    if scenario == "class":
        truth = dict.fromkeys(split.forget_validation.inputs[:, 0], 3)
    of_held_out = [truth[number] for number in held_out.inputs[:, 0]]  # it is unseen, all of it
    assert len(of_held_out) == len(truth), "as many as there are"
    wanted, found = pairs(true, split.forget.labels), pairs(of_held_out, held_out.labels)
    for pair in wanted | found:
        share = wanted[pair] / wanted.total() * found.total()
        assert abs(found[pair] - share) < 1, pair
    assert held_out.labels.dtype == split.validation.labels.dtype


def test_of_a_forgotten_class_there_is_nothing_else(split_of):
    held_out = held_out_like_forget(task_of(split_of("class")))
    assert set(held_out.labels) == {3}
    assert len(np.unique(held_out.inputs)) == len(held_out.labels) == 10


def test_corrupted_labels_are_wrong_and_chosen_without_regard_to_the_input(split_of):
    task = task_of(split_of("corrupted_labels"))
    truth = dict(zip(task.validation.inputs[:, 0], task.validation.labels, strict=True))
    one, other = (held_out_like_forget(task, seed) for seed in (0, 1))
    one, other = ({x[0]: y for x, y in zip(*held_out, strict=True)} for held_out in (one, other))
    for labels in (one, other):
        assert all(truth[number] != label for number, label in labels.items())
    common = one.keys() & other.keys()
    assert any(one[number] != other[number] for number in common)


def test_the_seed_decides_and_nothing_else(split_of):
    task, state = task_of(split_of("random")), np.random.get_state()[1].copy()
    one, same, other = (held_out_like_forget(task, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.inputs, same.inputs)
    np.testing.assert_array_equal(one.labels, same.labels)
    assert not np.array_equal(np.sort(one.inputs, 0), np.sort(other.inputs, 0))
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_by_hand():
    # Three in four are of class 1: of six examples 4.5, so 4 or 5. Both that there are come twice
    # or thrice each, and of the four of class 0 one or two come, once.
    task = make_task(numbered([1, 1, 0, 1]), numbered([0, 0, 1, 2, 0, 1, 0], first=10))
    held_out = held_out_like_forget(task)
    found = Counter(held_out.inputs[:, 0].tolist())
    assert Counter(held_out.labels.tolist()) in ({0: 1, 1: 5}, {0: 2, 1: 4})
    assert {found[12], found[15]} <= {2, 3}
    assert found[13] == 0, "a class that is not forgotten"
    assert max(found[number] for number in (10, 11, 14, 16)) == 1


def test_what_the_task_holds_out_itself_is_taken_as_it_is():
    own = numbered([4, 4], first=50)
    task = make_task(numbered([1]), numbered([1, 2], first=10), forget_validation=own)
    assert held_out_like_forget(task) is own


def test_a_class_that_nobody_held_out_is_named():
    task = make_task(numbered([1, 3, 0]), numbered([0, 2]))
    with pytest.raises(ValueError, match=r"labels \[1, 3\].*forget_validation="):
        held_out_like_forget(task)
    task = replace(task, forget_true_labels=np.array([0, 0, 2]))
    assert len(held_out_like_forget(task).labels) == 2, "labels that are wrong need not be there"
