import pytest

from feasible_jax.unlearning.differences import differences


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 3]}, ["b was [1, 2], is [1, 3]"]),
        ({"a": None}, {}, ["a was None, is not there"]),
        ({}, {"a": "x"}, ["a was not there, is 'x'"]),
        ({"g": {"a": 1, "b": 2}}, {"g": {"a": 3, "b": 2}}, ["a was 1, is 3"]),
        ({"g": {"a": 1}}, {"g": None}, ["g was not there, is None", "a was 1, is not there"]),
    ],
)
def test_each_difference_is_named(before, now, expected):
    assert differences(before, now) == expected
