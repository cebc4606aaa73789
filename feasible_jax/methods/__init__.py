"""Base unlearning methods, one a file, as values: objectives, weights, phases."""

from feasible_jax.methods.fine_tuning import fine_tuning
from feasible_jax.methods.gradient_ascent import gradient_ascent
from feasible_jax.methods.l1_sparse import l1_sparse
from feasible_jax.methods.method import Method, Objective, Prepared, Problem
from feasible_jax.methods.neg_grad_plus import neg_grad_plus
from feasible_jax.methods.random_labels import random_labels

__all__ = [
    "Method",
    "Objective",
    "Prepared",
    "Problem",
    "fine_tuning",
    "gradient_ascent",
    "l1_sparse",
    "neg_grad_plus",
    "random_labels",
]
