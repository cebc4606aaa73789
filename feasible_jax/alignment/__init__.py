"""Is a direction probably aligned with what must hold? Statistics, critical values, tests."""

from feasible_jax.alignment.changes import (
    PerExampleChange,
    directional_derivatives,
    loss_change,
)
from feasible_jax.alignment.coordinates import DECREASE, INCREASE, aligned, alignment_statistic
from feasible_jax.alignment.critical_values import (
    TESTS,
    critical_value,
    critical_value_at,
    normal_quantile,
    student_quantile,
)
from feasible_jax.alignment.directional import direction_aligned
from feasible_jax.alignment.mean_tests import (
    DEFAULT_TEST,
    MEAN_TESTS,
    MeanTest,
    betting_test,
    bootstrap_test,
    gaffke_test,
    hall_test,
    normal_test,
    resolve_mean_test,
    student_test,
)
from feasible_jax.alignment.spending import Spending, alpha_spending, online_fdr

__all__ = [
    "DECREASE",
    "DEFAULT_TEST",
    "INCREASE",
    "MEAN_TESTS",
    "TESTS",
    "MeanTest",
    "PerExampleChange",
    "Spending",
    "aligned",
    "alignment_statistic",
    "alpha_spending",
    "betting_test",
    "bootstrap_test",
    "critical_value",
    "critical_value_at",
    "direction_aligned",
    "directional_derivatives",
    "gaffke_test",
    "hall_test",
    "loss_change",
    "normal_quantile",
    "normal_test",
    "online_fdr",
    "resolve_mean_test",
    "student_quantile",
    "student_test",
]
