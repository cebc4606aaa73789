"""The Optax transformations and their selection rules."""

from feasible_jax.feasibility.accumulate_evidence import (
    AccumulateEvidenceState,
    accumulate_evidence,
)
from feasible_jax.feasibility.budget import budget
from feasible_jax.feasibility.certify_updates import CertifyUpdatesState, certify_updates
from feasible_jax.feasibility.constraints import Constraint
from feasible_jax.feasibility.coordinatewise import coordinatewise
from feasible_jax.feasibility.feasible_updates import FeasibleUpdatesState, feasible_updates
from feasible_jax.feasibility.groupwise import groupwise
from feasible_jax.feasibility.projection import projection
from feasible_jax.feasibility.random_mask import random_mask
from feasible_jax.feasibility.requirements import Requirements
from feasible_jax.feasibility.rule import Evidence, Proposal, Rule, Selection
from feasible_jax.feasibility.sign_agreement import sign_agreement

__all__ = [
    "AccumulateEvidenceState",
    "CertifyUpdatesState",
    "Constraint",
    "Evidence",
    "FeasibleUpdatesState",
    "Proposal",
    "Requirements",
    "Rule",
    "Selection",
    "accumulate_evidence",
    "budget",
    "certify_updates",
    "coordinatewise",
    "feasible_updates",
    "groupwise",
    "projection",
    "random_mask",
    "sign_agreement",
]
