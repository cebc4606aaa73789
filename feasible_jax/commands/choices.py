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
    "gradient_ascent",
    "l1_sparse",
    "neg_grad_plus",
    "random_labels",
    "salun",
    "scrub",
    "unsir",
]
ArmName = Literal[
    "plain", "feasible", "feasible_curvature", "certified", "random_mask", "sign_mask"
]
ScenarioName = Literal["corrupted_labels", "random", "class"]
ModelName = Literal["mlp", "cnn", "resnet18"]
