"""U-LiRA: a likelihood-ratio attack with an attacker of its own for each example."""

from typing import NamedTuple

import numpy as np

from feasible_jax.evaluation.ensembles import matched_margins

# Of margins; keeps the ratio finite where all models of an ensemble agree.
_LEAST_VARIANCE = 1e-12


class ULiRA(NamedTuple):
    """How well the attack tells unlearned models from retrained ones.

    Attributes:
      accuracy: over all examples, percent; 50 where it can only guess.
      auc: chance that of an unlearned and a retrained model the unlearned one has the larger
        likelihood ratio, in ``[0, 1]``; 0.5 where it can only guess.
      per_example: ``(N,)`` the accuracy on each example, percent.

    >>> ULiRA(50.0, 0.5, np.array([50.0])).auc
    0.5
    """

    accuracy: float
    auc: float
    per_example: np.ndarray


def u_lira(unlearned: np.ndarray, retrained: np.ndarray) -> ULiRA:
    """Unlearning likelihood-ratio attack (U-LiRA): does one example tell what a model is?

    For each example, the margins of the unlearned and of the retrained models, limited to
    [-100, 100], are taken for two normal distributions, and a model whose kind is not known is
    judged by

    ``log N(margin; mean_u, var_u) - log N(margin; mean_r, var_r)``,

    above 0 for unlearned. Each model is the target once. It is left out of the fit, and so is the
    model of the same index on the other side: with but one of the two left out, the fit of its own
    kind would be pushed away from the target, and the attack would score below 50 on ensembles that
    do not differ. As it is, their expected accuracy is 50 and their expected AUC 0.5, whatever the
    number of models. Ties count half.

    An attacker for each example is far stronger than one for all, such as ``mia_svc``: an
    example is told from how *its own* margins are distributed. Source: Hayes et al., "Inexact
    unlearning needs more careful evaluations to avoid a false sense of privacy" (arXiv 2403.01218),
    after LiRA (Carlini et al., 2022, arXiv 2112.03570). There, forget sets vary between the shadow
    models; give models that vary so, or a fixed forget set and models that differ by their seeds.

    Args:
      unlearned: ``(M, N)`` margins of M unlearned models on N forget examples, see
        ``ensemble_margins``.
      retrained: ``(M, N)``, the same of models that never saw the examples. Models of the same
        index may share a seed.

    Returns:
      ``ULiRA(accuracy, auc, per_example)``.

    Raises:
      ValueError: if there are fewer than 3 models a side, the shapes differ, or a margin is NaN.

    >>> retrained = np.array([[-1.0], [0.0], [1.0], [2.0]])
    >>> u_lira(retrained, retrained).accuracy, u_lira(retrained + 9, retrained).accuracy
    (50.0, 100.0)
    """
    unlearned, retrained = matched_margins(unlearned, retrained, at_least=3)
    ratios = np.array(
        [
            _ratio(np.stack([unlearned[i], retrained[i]]), *_without(i, unlearned, retrained))
            for i in range(len(unlearned))
        ]
    )
    of_unlearned, of_retrained = ratios[:, 0], ratios[:, 1]
    per_example = (_wins(of_unlearned, 0.0) + _wins(0.0, of_retrained)).mean(axis=0) / 2
    auc = float(_wins(of_unlearned, of_retrained).mean())
    return ULiRA(100.0 * float(per_example.mean()), auc, 100.0 * per_example)


def u_lira_share(target: np.ndarray, unlearned: np.ndarray, retrained: np.ndarray) -> float:
    """The share of forget examples that give one model away as unlearned, in percent.

    The attack of ``u_lira`` on a single model: the share of examples whose ratio is above 0. The
    target is the value of a retrained model that is not among ``retrained``.

    Args:
      target: ``(N,)`` margins of the model, which is in neither ensemble.
      unlearned: ``(M, N)`` margins of models unlearned in the same way.
      retrained: ``(M, N)`` margins of models that never saw the examples.

    Returns:
      A number in ``[0, 100]``.

    Raises:
      ValueError: if there are fewer than 2 models a side, shapes differ, or a margin is NaN.

    >>> retrained = np.array([[-1.0, 0.0], [0.0, 1.0], [1.0, 2.0]])
    >>> u_lira_share(np.array([0.1, 9.0]), retrained + 9, retrained)
    50.0
    """
    ensembles = matched_margins(unlearned, retrained, at_least=2)
    targets, _ = matched_margins(np.asarray(target)[None], ensembles[0][:1], at_least=1)
    return 100.0 * float(_wins(_ratio(targets, *ensembles), 0.0).mean())


def _without(i: int, *ensembles: np.ndarray) -> list[np.ndarray]:
    return [np.delete(margins, i, axis=0) for margins in ensembles]


def _ratio(targets: np.ndarray, unlearned: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    return _log_density(targets, unlearned) - _log_density(targets, retrained)


def _log_density(targets: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """Of a normal distribution with the mean and variance of the margins, but for a constant."""
    variance = np.maximum(margins.var(axis=0, ddof=1), _LEAST_VARIANCE)
    return -((targets - margins.mean(axis=0)) ** 2) / (2 * variance) - np.log(variance) / 2


def _wins(larger, smaller) -> np.ndarray:
    return (np.sign(larger - smaller) + 1) / 2
