"""Membership inference by a logistic regression on entropies."""

import numpy as np


def mia_entropy(
    forget_entropy: np.ndarray, retain_entropy: np.ndarray, test_entropy: np.ndarray
) -> float:
    """The share of forget examples that an attack takes for MEMBERS, in percent.

    A logistic regression learns to tell retain examples, members of the training set, from test
    examples, the non-members, by the entropy of the predicted probabilities; both classes weigh
    alike, however many examples they have. Then it judges the forget examples. It counts in the
    direction opposite to ``mia_svc``: the original model tends to have a HIGH value. The target is
    the retrained model's value, not 0. The attack does not look at the label, so it sees a model
    that is sure of a wrong class as well.

    Source: Chundawat et al., "Can bad teaching induce forgetting?", AAAI 2023 (arXiv 2205.08096);
    the "MIA" column of Foster et al., "Selective synaptic dampening", AAAI 2024 (arXiv 2308.07707).

    Args:
      forget_entropy: ``(N_forget,)``, in nats, as from ``entropy``.
      retain_entropy: ``(N_retain,)``, the same for training examples that stay.
      test_entropy: ``(N_test,)``, the same for examples never trained on.

    Returns:
      A number in ``[0, 100]``. It is 50 where members and non-members all have one and the same
      entropy, for then the attack could only toss a coin.

    Raises:
      ValueError: if an entropy is negative or not finite, or a set is empty or not a vector.

    >>> mia_entropy(np.array([0.1, 0.1, 0.1, 2.0]), np.full(50, 0.1), np.full(20, 2.0))
    75.0
    """
    sets = {"forget": forget_entropy, "retain": retain_entropy, "test": test_entropy}
    forget, members, outsiders = (_checked(name, values) for name, values in sets.items())
    features = np.concatenate([members, outsiders])[:, None]
    if np.ptp(features) == 0:
        return 50.0
    # a second of imports that most users of the library never need
    from sklearn.linear_model import LogisticRegression

    is_member = np.repeat([1, 0], [len(members), len(outsiders)])
    attack = LogisticRegression(class_weight="balanced").fit(features, is_member)
    return 100.0 * float(np.mean(attack.predict(forget[:, None]) == 1))


def _checked(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(
            f"{name}_entropy has shape {values.shape}: give one number an example, "
            "and at least one example."
        )
    if not ((values >= 0) & (values < np.inf)).all():
        raise ValueError(
            f"{name}_entropy runs from {values.min()} to {values.max()}: give entropies in nats, "
            "finite and not negative, as entropy() returns them."
        )
    return values
