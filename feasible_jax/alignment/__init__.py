"""Is a direction probably aligned with what must hold? Statistics, critical values, tests."""

from feasible_jax.alignment.coordinates import DECREASE, INCREASE, aligned, alignment_statistic
from feasible_jax.alignment.critical_values import (
    TESTS,
    critical_value,
    normal_quantile,
    student_quantile,
)
from feasible_jax.alignment.directional import direction_aligned

__all__ = [
    "DECREASE",
    "INCREASE",
    "TESTS",
    "aligned",
    "alignment_statistic",
    "critical_value",
    "direction_aligned",
    "normal_quantile",
    "student_quantile",
]
