"""The models the demo and the benchmarks stand on, and how they are trained."""

from feasible_jax.models.classification import cross_entropy
from feasible_jax.models.ensemble import train_ensemble
from feasible_jax.models.model import MODELS, Model, build_model
from feasible_jax.models.training import train

__all__ = ["MODELS", "Model", "build_model", "cross_entropy", "train", "train_ensemble"]
