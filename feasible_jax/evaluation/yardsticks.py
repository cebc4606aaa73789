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
      unit: ``"%"``, ``"points"``, ``"nats"``, ``"min"``, or empty for a plain number.
      direction: which values are good, in words.
      description: one sentence.

    >>> next(yardstick.label for yardstick in YARDSTICKS if yardstick.name == "retain_accuracy")
    'RA'
    """

    name: str
    label: str
    unit: str
    direction: str
    description: str


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
        _LOWER + "; below 0, it rose",
        "Test accuracy of the original model minus this one's, on the classes that remain.",
    ),
    Yardstick(
        "test_accuracy_fall_bound",
        "TA fall, at most",
        "points",
        _LOWER,
        "Test accuracy on the classes that remain fell by at most this from the original model's, "
        "with 95% confidence.",
    ),
    Yardstick(
        "test_accuracy_fall_p",
        "TA fall, p",
        "",
        _LOWER + "; at most 1 - confidence, 0.05: not inferior",
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
        _RETRAINED,
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
        _LOWER,
        "Mean cross-entropy on test examples of the classes that remain rose by at most this from "
        "the original model's, with 95% confidence.",
    ),
    Yardstick(
        "avg_gap",
        "Avg. Gap",
        "points",
        _LOWER + "; read it beside the original model's",
        "Mean absolute difference to the retrained model over UA, RA, TA and MIA.",
    ),
    Yardstick(
        "tow",
        "ToW",
        "",
        _HIGHER + ", at most 1",
        "One minus the difference to the retrained model, multiplied over forget, retain, test.",
    ),
    Yardstick("rte_minutes", "RTE", "min", _LOWER, "Wall time."),
    Yardstick(
        "rte_ratio",
        "RTE / retraining",
        "",
        _LOWER + "; above 1, retrain instead",
        "Wall time as a fraction of retraining from scratch.",
    ),
)
