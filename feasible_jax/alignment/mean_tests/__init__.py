"""One-sided tests of a mean: is the change probably a decrease?"""

from feasible_jax.alignment.mean_tests.betting import betting_test
from feasible_jax.alignment.mean_tests.bootstrap import bootstrap_test
from feasible_jax.alignment.mean_tests.gaffke import gaffke_test
from feasible_jax.alignment.mean_tests.hall import hall_test
from feasible_jax.alignment.mean_tests.mean_test import MeanTest
from feasible_jax.alignment.mean_tests.normal import normal_test
from feasible_jax.alignment.mean_tests.resolve import DEFAULT_TEST, MEAN_TESTS, resolve_mean_test
from feasible_jax.alignment.mean_tests.student import student_test

__all__ = [
    "DEFAULT_TEST",
    "MEAN_TESTS",
    "MeanTest",
    "betting_test",
    "bootstrap_test",
    "gaffke_test",
    "hall_test",
    "normal_test",
    "resolve_mean_test",
    "student_test",
]
