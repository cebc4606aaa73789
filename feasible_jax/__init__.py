"""Machine unlearning in JAX: updates that are probably aligned with what must hold."""

from feasible_jax import methods
from feasible_jax.alignment import (
    MeanTest,
    PerExampleChange,
    alpha_spending,
    directional_derivatives,
    loss_change,
    online_fdr,
)
from feasible_jax.feasibility import (
    AccumulateEvidenceState,
    CertifyUpdatesState,
    FeasibleUpdatesState,
    Rule,
    accumulate_evidence,
    budget,
    certify_updates,
    coordinatewise,
    feasible_updates,
    groupwise,
    projection,
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
    "AccumulateEvidenceState",
    "CertifyUpdatesState",
    "Examples",
    "FeasibleUpdatesState",
    "GradientMoments",
    "History",
    "MeanTest",
    "MomentsExplanation",
    "PerExampleChange",
    "Rule",
    "Task",
    "UnlearnResult",
    "accumulate_evidence",
    "alpha_spending",
    "budget",
    "certify_updates",
    "coordinatewise",
    "directional_derivatives",
    "explain_moments",
    "feasible_updates",
    "grad_moments",
    "groupwise",
    "loss_change",
    "merge_moments",
    "methods",
    "moments_from_per_example",
    "online_fdr",
    "projection",
    "random_mask",
    "reduce_moments",
    "sign_agreement",
    "skewness",
    "standard_error",
    "unlearn",
]
