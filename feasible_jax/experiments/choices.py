"""The names that flags accept."""

from typing import Literal

MethodName = Literal[
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
    "sfron",
    "sim_npo",
    "ssd",
]
ArmName = Literal[
    "plain", "feasible", "feasible_curvature", "certified", "random_mask", "sign_mask"
]
ScenarioName = Literal["corrupted_labels", "random", "class"]
ModelName = Literal["mlp", "cnn", "resnet18"]
