"""Base unlearning methods, one a file, as values: objectives, weights, phases."""

from feasible_jax.methods.amnesiac import amnesiac
from feasible_jax.methods.bad_teacher import bad_teacher
from feasible_jax.methods.boundary_expand import boundary_expand
from feasible_jax.methods.boundary_shrink import boundary_shrink
from feasible_jax.methods.cf_k import cf_k
from feasible_jax.methods.eu_k import eu_k
from feasible_jax.methods.fine_tuning import fine_tuning
from feasible_jax.methods.fisher_forgetting import fisher_forgetting
from feasible_jax.methods.gdr_gma import gdr_gma
from feasible_jax.methods.gradient_ascent import gradient_ascent
from feasible_jax.methods.hamu import hamu
from feasible_jax.methods.influence_unlearning import influence_unlearning
from feasible_jax.methods.l1_sparse import l1_sparse
from feasible_jax.methods.method import Method, Objective, Prepared, Problem
from feasible_jax.methods.munba import munba
from feasible_jax.methods.neg_grad_plus import neg_grad_plus
from feasible_jax.methods.npo import npo
from feasible_jax.methods.random_labels import random_labels
from feasible_jax.methods.salun import salun
from feasible_jax.methods.scrub import scrub
from feasible_jax.methods.scrub_r import scrub_r
from feasible_jax.methods.sfron import sfron
from feasible_jax.methods.sim_npo import sim_npo
from feasible_jax.methods.ssd import ssd
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
    "fisher_forgetting",
    "gdr_gma",
    "gradient_ascent",
    "hamu",
    "influence_unlearning",
    "l1_sparse",
    "munba",
    "neg_grad_plus",
    "npo",
    "random_labels",
    "salun",
    "scrub",
    "scrub_r",
    "sfron",
    "sim_npo",
    "ssd",
    "unsir",
]
