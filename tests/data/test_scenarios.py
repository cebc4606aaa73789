import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feasible_jax.data import SCENARIOS, Dataset, make_split
from feasible_jax.unlearning.task import Examples


def numbered(train_labels, test_labels, num_classes):
    """Every image holds its own number, so that an example can be traced through a split."""
    sets, start = [], 0
    for labels in (train_labels, test_labels):
        numbers = np.arange(start, start + len(labels), dtype=np.float32)
        inputs = np.broadcast_to(numbers[:, None, None, None], (len(labels), 2, 2, 1)).copy()
        sets.append(Examples(inputs, np.asarray(labels, np.int32)))
        start += len(labels)
    return Dataset("numbered", tuple(map(str, range(num_classes))), *sets)


def numbers(examples):
    return examples.inputs[:, 0, 0, 0].astype(int)


@pytest.fixture
def dataset():
    rng = np.random.default_rng()
    train = np.concatenate([np.arange(5), rng.choice(5, 495, p=[0.5, 0.2, 0.1, 0.1, 0.1])])
    return numbered(rng.permutation(train), rng.permutation(np.arange(200) % 5), 5)


def true_labels(dataset, examples):
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    return labels[numbers(examples)]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_sets_are_disjoint_and_come_from_where_they_should(dataset, scenario):
    split = make_split(dataset, scenario, train_size=300, validation_size=100, test_size=50)
    train = np.concatenate([numbers(split.forget), numbers(split.retain)])
    together = np.concatenate([train, numbers(split.validation), numbers(split.test)])
    assert len(np.unique(together)) == len(together)
    assert len(train) == 300
    assert train.max() < 500
    assert numbers(split.validation).max() < 500
    assert numbers(split.test).min() >= 500
    for name in ("retain", "validation", "test"):
        examples = getattr(split, name)
        np.testing.assert_array_equal(examples.labels, true_labels(dataset, examples))
        assert examples.labels.dtype == np.int32


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_seed_decides_and_nothing_else(dataset, scenario):
    state = np.random.get_state()[1].copy()
    split = make_split(dataset, scenario, train_size=300, seed=7)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    np.random.seed(0)
    again = make_split(dataset, scenario, train_size=300, seed=7)
    other = make_split(dataset, scenario, train_size=300, seed=8)
    for name in ("forget", "retain", "validation", "test"):
        np.testing.assert_array_equal(getattr(split, name).inputs, getattr(again, name).inputs)
        np.testing.assert_array_equal(getattr(split, name).labels, getattr(again, name).labels)
    assert set(numbers(split.retain)) != set(numbers(other.retain))


def test_training_set_is_the_same_in_every_scenario(dataset):
    splits = [make_split(dataset, scenario, train_size=200, seed=3) for scenario in SCENARIOS]
    sets = [set(numbers(split.forget)) | set(numbers(split.retain)) for split in splits]
    assert sets[0] == sets[1] == sets[2]
    np.testing.assert_array_equal(numbers(splits[0].test), numbers(splits[2].test))


def test_test_size_changes_the_test_set_alone(dataset):
    one, two = (make_split(dataset, "random", test_size=size) for size in (10, 100))
    np.testing.assert_array_equal(one.forget.inputs, two.forget.inputs)
    np.testing.assert_array_equal(one.validation.inputs, two.validation.inputs)


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(["random", "corrupted_labels"]),
    st.floats(0.02, 0.98),
    st.integers(0, 2**31),
)
def test_forget_set_is_a_stratified_fraction(scenario, fraction, seed):
    rng = np.random.default_rng(seed)
    data = numbered(rng.choice(3, 200, p=[0.6, 0.3, 0.1]), np.arange(9) % 3, 3)
    split = make_split(data, scenario, fraction=fraction, seed=seed)
    of_forget = np.bincount(true_labels(data, split.forget), minlength=3)
    of_train = of_forget + np.bincount(true_labels(data, split.retain), minlength=3)
    assert of_train.sum() == 160
    assert of_forget.sum() == round(fraction * 160)
    np.testing.assert_allclose(of_forget, fraction * of_train, atol=1.51)


def test_train_validation_and_test_are_stratified(dataset):
    split = make_split(dataset, "random", train_size=200, validation_size=50, test_size=60)
    share = np.bincount(dataset.train.labels) / 500
    train = np.concatenate([split.forget.labels, split.retain.labels])
    np.testing.assert_allclose(np.bincount(train), 200 * share, atol=1.01)
    np.testing.assert_allclose(np.bincount(split.validation.labels), 50 * share, atol=2.01)
    np.testing.assert_array_equal(np.bincount(split.test.labels), [12] * 5)


@pytest.mark.parametrize(
    ("asked", "train", "validation"),
    [
        ({}, 400, 100),
        ({"train_size": 300}, 300, 75),
        ({"train_size": 450}, 450, 50),
        ({"validation_size": 50}, 450, 50),
        ({"train_size": 20, "validation_size": 480}, 20, 480),
    ],
)
def test_sizes(dataset, asked, train, validation):
    split = make_split(dataset, "random", **asked)
    assert len(split.forget.labels) + len(split.retain.labels) == train
    assert len(split.validation.labels) == validation
    assert len(split.test.labels) == 200


def test_class_leaves_nothing_of_it_anywhere_else(dataset):
    split = make_split(dataset, "class", forget_class=2)
    whole = make_split(dataset, "random")
    assert set(split.forget.labels) == {2}
    for name in ("retain", "validation", "test"):
        assert set(getattr(split, name).labels) == {0, 1, 3, 4}
    in_train = np.concatenate([whole.forget.labels, whole.retain.labels])
    assert len(split.forget.labels) == np.sum(in_train == 2)
    assert split.forget_true_labels is None
    assert set(split.forget_validation.labels) == {2}
    assert len(split.forget_validation.labels) == np.sum(whole.validation.labels == 2)
    both = np.concatenate([numbers(split.validation), numbers(split.forget_validation)])
    assert set(both) == set(numbers(whole.validation))
    assert whole.forget_validation is None


def test_a_class_that_validation_has_none_of_has_none_held_out():
    data = numbered([0] * 40 + [1], [0, 1], 2)
    split = make_split(data, "class", forget_class=1, train_size=39, validation_size=2, seed=1)
    assert split.forget_validation is None


def test_a_corrupted_label_is_never_the_true_one(dataset):
    split = make_split(dataset, "corrupted_labels", fraction=0.9)
    np.testing.assert_array_equal(split.forget_true_labels, true_labels(dataset, split.forget))
    assert np.all(split.forget.labels != split.forget_true_labels)
    assert split.forget.labels.dtype == np.int32


def test_every_wrong_label_is_as_likely():
    data = numbered(np.zeros(4_000, int), [0, 1, 2, 3], 4)
    split = make_split(data, "corrupted_labels", fraction=0.9)
    np.testing.assert_allclose(np.bincount(split.forget.labels), [0, 960, 960, 960], atol=130)


def test_the_dataset_keeps_its_labels(dataset):
    before = dataset.train.labels.copy()
    make_split(dataset, "corrupted_labels", fraction=0.5)
    np.testing.assert_array_equal(dataset.train.labels, before)


@pytest.mark.parametrize(
    ("scenario", "asked", "message"),
    [
        ("rondom", {}, "'rondom': choose one of random, class, corrupted_labels"),
        ("random", {"fraction": 0.0}, r"fraction is 0.0.*\(0, 1\)"),
        ("random", {"fraction": 1.0}, "fraction is 1.0"),
        ("random", {"fraction": float("nan")}, "fraction is nan"),
        ("corrupted_labels", {"fraction": -0.1}, "fraction is -0.1"),
        ("class", {"forget_class": 5}, "forget_class is 5: the labels run from 0 to 4"),
        ("class", {"forget_class": -1}, "forget_class is -1"),
        ("random", {"train_size": 501}, "train_size 501 .*holds 500"),
        ("random", {"train_size": 500}, "train_size 500 and validation_size 1.*holds 500"),
        ("random", {"train_size": 400, "validation_size": 101}, "400 and validation_size 101"),
        ("random", {"validation_size": 500}, "train_size 0 and validation_size 500"),
        ("random", {"validation_size": 0}, "validation_size 0"),
        ("random", {"test_size": 201}, "test_size is 201: dataset.test holds 200"),
        ("random", {"test_size": 0}, "test_size is 0"),
        ("random", {"fraction": 0.001}, "the forget set .* is empty"),
    ],
)
def test_impossible_requests(dataset, scenario, asked, message):
    with pytest.raises(ValueError, match=message):
        make_split(dataset, scenario, **asked)


def test_a_class_that_the_training_set_lacks():
    with pytest.raises(ValueError, match="forget set of scenario class is empty"):
        make_split(numbered([0, 1] * 10, [0, 1, 2], 3), "class", forget_class=2)


def test_one_class_is_too_few():
    with pytest.raises(ValueError, match="at least 2"):
        make_split(numbered([0] * 10, [0], 1), "corrupted_labels")
