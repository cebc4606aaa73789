"""Exact gradient moments from closed forms, by transforming the program of the loss."""

from feasible_jax.moments.structured.batch_statistics import refuse_batch_statistics
from feasible_jax.moments.structured.estimate import structured_moments
from feasible_jax.moments.structured.explain import (
    MomentsExplanation,
    ParameterCost,
    explain_moments,
)
from feasible_jax.moments.structured.program import Program, trace_program

__all__ = [
    "MomentsExplanation",
    "ParameterCost",
    "Program",
    "explain_moments",
    "refuse_batch_statistics",
    "structured_moments",
    "trace_program",
]
