"""The list of yardsticks, for tables and pages: what each is called, and what its target is."""

from typing import NamedTuple

_RETRAINED = "target: the retrained model's value"
_HIGHER = "higher is better"
_LOWER = "lower is better"


class Yardstick(NamedTuple):
    """How to print one column of a row.

    Attributes:
      name: its key in a row.
      label: the head of the column.
      unit: ``"%"``, ``"points"``, ``"nats"``, ``"min"``, ``"steps"``, or empty for a plain number.
      direction: which values are good, in words.
      description: one sentence.
      on_request: whether it takes training, so that it is measured only where asked for.

    >>> next(yardstick.label for yardstick in YARDSTICKS if yardstick.name == "retain_accuracy")
    'RA'
    """

    name: str
    label: str
    unit: str
    direction: str
    description: str
    on_request: bool = False


YARDSTICKS: tuple[Yardstick, ...] = (
    Yardstick(
        "unlearning_accuracy",
        "UA",
        "%",
        _RETRAINED,
        "100 minus the accuracy on the forget set, with the labels it was trained on.",
    ),
    Yardstick(
        "forget_accuracy",
        "Forget acc.",
        "%",
        _RETRAINED,
        "Accuracy on the forget set, with the labels it was trained on.",
    ),
    Yardstick(
        "forget_true_accuracy",
        "Forget acc., true labels",
        "%",
        _RETRAINED,
        "Accuracy on the forget set with its right labels, where it was trained on wrong ones.",
    ),
    Yardstick(
        "retain_accuracy",
        "RA",
        "%",
        _RETRAINED,
        "Accuracy on the rest of the training set.",
    ),
    Yardstick(
        "test_accuracy",
        "TA",
        "%",
        _RETRAINED,
        "Accuracy on unseen examples.",
    ),
    Yardstick(
        "test_accuracy_fall",
        "TA fall",
        "points",
        _LOWER + ", target: 0; below, it rose",
        "Test accuracy of the original model minus this one's, on the classes that remain.",
    ),
    Yardstick(
        "test_accuracy_fall_bound",
        "TA fall, at most",
        "points",
        _LOWER + ", target: below the margin",
        "Test accuracy on the classes that remain fell by at most this from the original model's, "
        "with 95% confidence.",
    ),
    Yardstick(
        "test_accuracy_fall_p",
        "TA fall, p",
        "",
        _LOWER + ", target: at most 1 - confidence, 0.05: not inferior",
        "P-value of a fall of test accuracy by the margin, 0.5 points if not said otherwise, or "
        "more.",
    ),
    Yardstick(
        "validation_accuracy",
        "Val. acc.",
        "%",
        _RETRAINED,
        "Accuracy on the unseen examples that hyper-parameters were chosen on.",
    ),
    Yardstick(
        "mia_svc",
        "MIA",
        "%",
        _RETRAINED + "; counts NON-members",
        "Forget examples that a classifier of confidences takes for never trained on.",
    ),
    Yardstick(
        "mia_auc",
        "MIA AUC",
        "",
        _RETRAINED + "; 0.5: forget and test examples look alike",
        "Chance that a forget example has a lower loss than a test example.",
    ),
    Yardstick(
        "mia_auc_low",
        "MIA AUC, low",
        "",
        _RETRAINED,
        "Lower end of its 95% interval.",
    ),
    Yardstick(
        "mia_auc_high",
        "MIA AUC, high",
        "",
        _RETRAINED,
        "Upper end of its 95% interval.",
    ),
    Yardstick(
        "mia_entropy",
        "MIA, entropy",
        "%",
        _RETRAINED + "; counts MEMBERS, the opposite of MIA",
        "Forget examples that a classifier of entropies takes for trained on.",
    ),
    Yardstick(
        "u_lira",
        "U-LiRA",
        "%",
        _LOWER + ", target: 50, a guess",
        "Accuracy of an attack with shadow models that tells unlearned models from retrained ones "
        "by one forget example.",
        on_request=True,
    ),
    Yardstick(
        "u_lira_auc",
        "U-LiRA AUC",
        "",
        _LOWER + ", target: 0.5, a guess",
        "Chance that this attack ranks an unlearned and a retrained model rightly.",
        on_request=True,
    ),
    Yardstick(
        "u_lira_share",
        "U-LiRA share",
        "%",
        _RETRAINED,
        "Forget examples by which this attack takes this very model for an unlearned one.",
        on_request=True,
    ),
    Yardstick(
        "forgetting_quality",
        "Forgetting quality",
        "",
        _HIGHER + ", target: the retrained model's value, at most 1",
        "How hard it is to tell unlearned from retrained shadow models, by the score of the "
        "NeurIPS 2023 unlearning challenge.",
        on_request=True,
    ),
    Yardstick(
        "forget_klom",
        "Forget KLoM",
        "nats",
        _LOWER + ", target: the retrained model's value",
        "Divergence of the margins of unlearned from those of retrained shadow models, on the "
        "forget set.",
        on_request=True,
    ),
    Yardstick(
        "test_klom",
        "Test KLoM",
        "nats",
        _LOWER + ", target: the retrained model's value",
        "The same on the test set.",
        on_request=True,
    ),
    Yardstick(
        "forget_js",
        "Forget JS",
        "nats",
        _LOWER + ", target: 0, the retrained model's; at most 0.69",
        "Jensen-Shannon divergence of predictions from the retrained model's, on the forget set.",
    ),
    Yardstick(
        "test_js",
        "Test JS",
        "nats",
        _LOWER + ", target: 0, the retrained model's; at most 0.69",
        "The same divergence on the test set.",
    ),
    Yardstick(
        "forget_kl",
        "Forget KL",
        "nats",
        _LOWER + ", target: 0, the retrained model's",
        "Kullback-Leibler divergence of predictions from the retrained model's, on the forget set.",
    ),
    Yardstick(
        "test_kl",
        "Test KL",
        "nats",
        _LOWER + ", target: 0, the retrained model's",
        "The same divergence on the test set.",
    ),
    Yardstick(
        "zrf",
        "ZRF",
        "",
        _RETRAINED + "; 1: like a model that never learned",
        "One minus the Jensen-Shannon divergence, in bits, from random parameters' predictions on "
        "the forget set.",
    ),
    Yardstick(
        "relearn_steps",
        "Relearn time",
        "steps",
        _RETRAINED + "; fewer: something was kept",
        "Steps of fine-tuning on the forget set that win back the original's accuracy on it, or "
        "the most that were allowed.",
        on_request=True,
    ),
    Yardstick(
        "forget_loss",
        "Forget loss",
        "nats",
        _RETRAINED,
        "Mean cross-entropy on the forget set.",
    ),
    Yardstick(
        "retain_loss",
        "Retain loss",
        "nats",
        _RETRAINED,
        "Mean cross-entropy on the retain set.",
    ),
    Yardstick(
        "test_loss",
        "Test loss",
        "nats",
        _RETRAINED,
        "Mean cross-entropy on the test set.",
    ),
    Yardstick(
        "test_loss_rise_bound",
        "Test loss rise, at most",
        "nats",
        _LOWER + ", target: 0; below, it fell",
        "Mean cross-entropy on test examples of the classes that remain rose by at most this from "
        "the original model's, with 95% confidence.",
    ),
    Yardstick(
        "avg_gap",
        "Avg. Gap",
        "points",
        _LOWER + ", target: 0; read it beside the original model's",
        "Mean absolute difference to the retrained model over UA, RA, TA and MIA.",
    ),
    Yardstick(
        "tow",
        "ToW",
        "",
        _HIGHER + ", target: 1",
        "One minus the difference to the retrained model, multiplied over forget, retain, test.",
    ),
    Yardstick(
        "rte_minutes", "RTE", "min", _LOWER + ", target: well below retraining's", "Wall time."
    ),
    Yardstick(
        "rte_ratio",
        "RTE / retraining",
        "",
        _LOWER + ", target: at most 0.1; above 1, retrain instead",
        "Wall time as a fraction of retraining from scratch.",
    ),
)
