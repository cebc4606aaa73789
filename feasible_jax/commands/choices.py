"""The names that flags accept."""

from typing import Literal

MethodName = Literal[
    "gradient_ascent",
    "neg_grad_plus",
    "random_labels",
    "fine_tuning",
    "l1_sparse",
    "fisher_forgetting",
    "gdr_gma",
    "hamu",
    "influence_unlearning",
    "munba",
    "npo",
    "sfron",
    "sim_npo",
    "ssd",
]
ArmName = Literal[
    "plain", "feasible", "feasible_curvature", "certified", "random_mask", "sign_mask"
]
ScenarioName = Literal["corrupted_labels", "random", "class"]
ModelName = Literal["mlp", "cnn", "resnet18"]
