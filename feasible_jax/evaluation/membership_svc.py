"""Membership inference by a support vector classifier on confidences."""

import numpy as np


def mia_svc(
    forget_confidence: np.ndarray,
    retain_confidence: np.ndarray,
    test_confidence: np.ndarray,
    *,
    max_examples: int = 2000,
    seed: int = 0,
) -> float:
    """The share of forget examples that an attack takes for non-members, in percent (MIA).

    A support vector classifier (C = 3, radial basis functions, gamma = 1) learns to tell retain
    examples, members of the training set, from as many test examples, the non-members, by the
    confidence of the label alone; then it judges the forget examples. The target is the
    retrained model's value, not 100. Beware of tables that print the share of MEMBERS instead.
    Source: "MIA-efficacy" of Jia et al., NeurIPS 2023 (arXiv 2304.04934), with the classifier of
    Fan et al., "SalUn", ICLR 2024 (arXiv 2310.12508); the cap on the number of examples is ours,
    for the classifier's time grows with their square.

    Args:
      forget_confidence: ``(N_forget,)``, the probability of the label.
      retain_confidence: ``(N_retain,)``, the same for training examples that stay.
      test_confidence: ``(N_test,)``, the same for examples never trained on.
      max_examples: at most so many members, and as many non-members, drawn without replacement.
      seed: of that draw.

    Returns:
      A number in ``[0, 100]``. It is 50 where members and non-members all have one and the same
      confidence, for then the attack could only toss a coin.

    Raises:
      ValueError: if a confidence is not in ``[0, 1]``, or a set is empty or not a vector.

    >>> mia_svc(np.full(4, 0.1), np.full(50, 0.9), np.full(50, 0.1))
    100.0
    """
    for name, values in (
        ("forget", forget_confidence),
        ("retain", retain_confidence),
        ("test", test_confidence),
    ):
        _check_confidence(name, np.asarray(values))
    if max_examples < 1:
        raise ValueError(f"max_examples is {max_examples}: give at least 1.")
    count = min(len(retain_confidence), len(test_confidence), max_examples)
    rng = np.random.default_rng(seed)
    members = rng.choice(retain_confidence, count, replace=False)
    outsiders = rng.choice(test_confidence, count, replace=False)
    return 100.0 * _share_of_outsiders(np.asarray(forget_confidence), members, outsiders)


def _share_of_outsiders(targets, members, outsiders) -> float:
    features = np.concatenate([members, outsiders])[:, None]
    if np.ptp(features) == 0:
        return 0.5
    from sklearn.svm import SVC  # a second of imports that most users of the library never need

    is_member = np.repeat([1, 0], [len(members), len(outsiders)])
    attack = SVC(C=3, gamma="auto", kernel="rbf").fit(features, is_member)
    return float(np.mean(attack.predict(targets[:, None]) == 0))


def _check_confidence(name: str, values: np.ndarray) -> None:
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(
            f"{name}_confidence has shape {values.shape}: give one number an example, "
            "and at least one example."
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"{name}_confidence runs from {values.min()} to {values.max()}: give probabilities "
            "in [0, 1], not logits or losses."
        )
