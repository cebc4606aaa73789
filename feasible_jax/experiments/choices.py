"""The names that flags accept."""

from typing import Literal

MethodName = Literal[
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
ArmName = Literal[
    "plain", "feasible", "feasible_curvature", "certified", "random_mask", "sign_mask"
]
ScenarioName = Literal["corrupted_labels", "random", "class"]
ModelName = Literal["mlp", "cnn", "resnet18"]
OptimizerName = Literal["sgd", "adam"]
