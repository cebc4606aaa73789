"""The yardsticks: how well a model forgot, what it kept, and what the forgetting cost."""

from feasible_jax.evaluation.accuracies import accuracy, unlearning_accuracy
from feasible_jax.evaluation.avg_gap import AVG_GAP_METRICS, average_gap
from feasible_jax.evaluation.comparison import compare
from feasible_jax.evaluation.divergence import js_divergence, kl_divergence
from feasible_jax.evaluation.ensembles import ensemble_margins
from feasible_jax.evaluation.evaluate_ensembles import evaluate_ensembles
from feasible_jax.evaluation.evaluate_model import evaluate
from feasible_jax.evaluation.forgetting_quality import ForgettingQuality, forgetting_quality
from feasible_jax.evaluation.histogram import LossHistogram, loss_histogram
from feasible_jax.evaluation.intervals import MeanInterval, mean_interval, paired_interval
from feasible_jax.evaluation.klom import klom
from feasible_jax.evaluation.loss_non_inferiority import loss_non_inferiority
from feasible_jax.evaluation.membership_auc import AUC, mia_auc
from feasible_jax.evaluation.membership_entropy import mia_entropy
from feasible_jax.evaluation.membership_svc import mia_svc
from feasible_jax.evaluation.non_inferiority import NonInferiority, non_inferiority
from feasible_jax.evaluation.per_example import (
    correct,
    cross_entropy,
    entropy,
    label_confidence,
    label_margin,
)
from feasible_jax.evaluation.predictions import Predictions, predict
from feasible_jax.evaluation.random_params import random_params
from feasible_jax.evaluation.relearn import RelearnTime, relearn_time
from feasible_jax.evaluation.rte import RunTime, run_time_efficiency
from feasible_jax.evaluation.tow import TOW_METRICS, tug_of_war
from feasible_jax.evaluation.u_lira import ULiRA, u_lira, u_lira_share
from feasible_jax.evaluation.utility import UTILITY_METRICS, utility_gap, utility_scores
from feasible_jax.evaluation.yardsticks import YARDSTICKS, Yardstick
from feasible_jax.evaluation.zrf import zrf

__all__ = [
    "AUC",
    "AVG_GAP_METRICS",
    "TOW_METRICS",
    "UTILITY_METRICS",
    "YARDSTICKS",
    "ForgettingQuality",
    "LossHistogram",
    "MeanInterval",
    "NonInferiority",
    "Predictions",
    "RelearnTime",
    "RunTime",
    "ULiRA",
    "Yardstick",
    "accuracy",
    "average_gap",
    "compare",
    "correct",
    "cross_entropy",
    "ensemble_margins",
    "entropy",
    "evaluate",
    "evaluate_ensembles",
    "forgetting_quality",
    "js_divergence",
    "kl_divergence",
    "klom",
    "label_confidence",
    "label_margin",
    "loss_histogram",
    "loss_non_inferiority",
    "mean_interval",
    "mia_auc",
    "mia_entropy",
    "mia_svc",
    "non_inferiority",
    "paired_interval",
    "predict",
    "random_params",
    "relearn_time",
    "run_time_efficiency",
    "tug_of_war",
    "u_lira",
    "u_lira_share",
    "unlearning_accuracy",
    "utility_gap",
    "utility_scores",
    "zrf",
]
