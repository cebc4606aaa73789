import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feasible_jax.data.sampling import stratified_sample


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_every_class_gets_its_share_rounded_down_or_up(labels, data):
    labels = np.array(labels)
    size = data.draw(st.integers(0, len(labels)))
    drawn = stratified_sample(labels, size, np.random.default_rng(data.draw(st.integers(0, 9))))
    assert len(drawn) == len(set(drawn)) == size
    assert np.all(np.diff(drawn) > 0)
    for label in np.unique(labels):
        share = np.sum(labels == label) * size / len(labels)
        assert abs(np.sum(labels[drawn] == label) - share) < 1


def test_which_classes_round_up_is_left_to_chance():
    labels = np.arange(10)
    counts = sum(
        np.bincount(stratified_sample(labels, 3, np.random.default_rng(seed)), minlength=10)
        for seed in range(300)
    )
    assert counts.min() > 50


def test_every_example_of_a_class_is_as_likely():
    labels = np.zeros(10, int)
    counts = sum(
        np.bincount(stratified_sample(labels, 3, np.random.default_rng(seed)), minlength=10)
        for seed in range(300)
    )
    assert counts.min() > 50


@pytest.mark.parametrize("size", [-1, 4])
def test_impossible_size(size):
    with pytest.raises(ValueError, match=f"draw {size} of 3"):
        stratified_sample(np.zeros(3, int), size, np.random.default_rng(0))
