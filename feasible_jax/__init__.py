"""Machine unlearning in JAX: updates that are probably aligned with what must hold."""

from feasible_jax import methods
from feasible_jax.feasibility import (
    FeasibleUpdatesState,
    Rule,
    coordinatewise,
    feasible_updates,
    groupwise,
    random_mask,
    sign_agreement,
)
from feasible_jax.moments import (
    GradientMoments,
    MomentsExplanation,
    explain_moments,
    grad_moments,
    merge_moments,
    moments_from_per_example,
    reduce_moments,
    skewness,
    standard_error,
)
from feasible_jax.unlearning import Examples, History, Task, UnlearnResult, unlearn

__version__ = "0.1.0"

__all__ = [
    "Examples",
    "FeasibleUpdatesState",
    "GradientMoments",
    "History",
    "MomentsExplanation",
    "Rule",
    "Task",
    "UnlearnResult",
    "coordinatewise",
    "explain_moments",
    "feasible_updates",
    "grad_moments",
    "groupwise",
    "merge_moments",
    "methods",
    "moments_from_per_example",
    "random_mask",
    "reduce_moments",
    "sign_agreement",
    "skewness",
    "standard_error",
    "unlearn",
]
