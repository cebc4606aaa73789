import pytest

from feasible_jax.alignment.mean_tests import (
    DEFAULT_TEST,
    MEAN_TESTS,
    betting_test,
    resolve_mean_test,
)


@pytest.mark.parametrize("name", MEAN_TESTS)
def test_names(name):
    assert resolve_mean_test(name).name == name


def test_the_default_is_a_name():
    assert DEFAULT_TEST in MEAN_TESTS


def test_a_test_stands_for_itself():
    test = betting_test(bound=1.0)
    assert resolve_mean_test(test) is test


@pytest.mark.parametrize("unknown", ["wald", None, 3])
def test_choices_are_listed(unknown):
    with pytest.raises(ValueError, match="'gaffke', 'hall', 'bootstrap', 'student', 'normal'"):
        resolve_mean_test(unknown)


def test_betting_has_no_default_bound():
    with pytest.raises(ValueError, match=r"betting_test\(bound="):
        resolve_mean_test("betting")
