"""Base unlearning methods, one a file, as values: objectives, weights, phases."""

from feasible_jax.methods.amnesiac import amnesiac
from feasible_jax.methods.bad_teacher import bad_teacher
from feasible_jax.methods.boundary_expand import boundary_expand
from feasible_jax.methods.boundary_shrink import boundary_shrink
from feasible_jax.methods.cf_k import cf_k
from feasible_jax.methods.eu_k import eu_k
from feasible_jax.methods.fine_tuning import fine_tuning
from feasible_jax.methods.gradient_ascent import gradient_ascent
from feasible_jax.methods.l1_sparse import l1_sparse
from feasible_jax.methods.method import Method, Objective, Prepared, Problem
from feasible_jax.methods.neg_grad_plus import neg_grad_plus
from feasible_jax.methods.random_labels import random_labels
from feasible_jax.methods.salun import salun
from feasible_jax.methods.scrub import scrub
from feasible_jax.methods.unsir import unsir

__all__ = [
    "Method",
    "Objective",
    "Prepared",
    "Problem",
    "amnesiac",
    "bad_teacher",
    "boundary_expand",
    "boundary_shrink",
    "cf_k",
    "eu_k",
    "fine_tuning",
    "gradient_ascent",
    "l1_sparse",
    "neg_grad_plus",
    "random_labels",
    "salun",
    "scrub",
    "unsir",
]
