"""A test of a mean by its name."""

from collections.abc import Callable

from feasible_jax.alignment.mean_tests.bootstrap import bootstrap_test
from feasible_jax.alignment.mean_tests.gaffke import gaffke_test
from feasible_jax.alignment.mean_tests.hall import hall_test
from feasible_jax.alignment.mean_tests.mean_test import MeanTest
from feasible_jax.alignment.mean_tests.normal import normal_test
from feasible_jax.alignment.mean_tests.student import student_test

MEAN_TESTS: dict[str, Callable[[], MeanTest]] = {
    "gaffke": gaffke_test,
    "hall": hall_test,
    "bootstrap": bootstrap_test,
    "student": student_test,
    "normal": normal_test,
}

# The one whose level holds under skewed harm.
DEFAULT_TEST = "gaffke"


def resolve_mean_test(test: str | MeanTest) -> MeanTest:
    """The test of a mean that a name stands for; a ``MeanTest`` stands for itself.

    Args:
      test: a key of ``MEAN_TESTS``, or a ``MeanTest``.

    Returns:
      A ``MeanTest``.

    Raises:
      ValueError: for anything else, ``"betting"`` included: only the user knows a bound of harm.

    >>> resolve_mean_test("student").name
    'student'
    """
    if isinstance(test, MeanTest):
        return test
    if isinstance(test, str) and test in MEAN_TESTS:
        return MEAN_TESTS[test]()
    if test == "betting":
        raise ValueError(
            "test='betting' needs to know the largest possible change of an example: give "
            "betting_test(bound=...) instead of the name."
        )
    raise ValueError(
        f"test={test!r}: choose {', '.join(map(repr, MEAN_TESTS))}, betting_test(bound=...) or "
        "another MeanTest."
    )
