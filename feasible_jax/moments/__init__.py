"""What a batch says about a gradient: the moments of per-example gradients."""

from feasible_jax.moments.estimator import grad_moments
from feasible_jax.moments.gradient_moments import (
    GradientMoments,
    moments_from_per_example,
    standard_error,
)
from feasible_jax.moments.merging import merge_moments, reduce_moments
from feasible_jax.moments.per_example import per_example_gradients
from feasible_jax.moments.skewness import skewness
from feasible_jax.moments.structured import MomentsExplanation, explain_moments

__all__ = [
    "GradientMoments",
    "MomentsExplanation",
    "explain_moments",
    "grad_moments",
    "merge_moments",
    "moments_from_per_example",
    "per_example_gradients",
    "reduce_moments",
    "skewness",
    "standard_error",
]
