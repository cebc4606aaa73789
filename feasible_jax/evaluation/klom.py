"""KLoM: the divergence of margins between unlearned and retrained models."""

import numpy as np
from scipy.special import rel_entr

from feasible_jax.evaluation.ensembles import matched_margins

# Of a bin that no retrained model is in; bounds KLoM by about 11.5 nats.
_LEAST = 1e-5


def klom(unlearned: np.ndarray, retrained: np.ndarray, bins: int = 20) -> np.ndarray:
    """KL divergence of margins (KLoM), of each example, in nats.

    ``KL(unlearned || retrained)`` of the histograms of an example's margins over the models, with
    common bins from the smallest to the largest margin of both, margins limited to [-100, 100]; a
    bin that is empty for the retrained models counts as 1e-5. 0 means the same histogram. Lower is
    better, and few models fill few bins: retrained models beside other retrained ones are well
    above 0, and **that value is the target**. Unlike an attack it sees examples that must stay as
    well: take it on forget, on retain and on test examples. Source: Georgiev et al.,
    "Attribute-to-delete", ICLR 2025 (arXiv 2410.23232), who use 100 models.

    Args:
      unlearned: ``(M, N)`` margins of M unlearned models on N examples, see ``ensemble_margins``.
      retrained: ``(M, N)``, the same of models retrained without the forget set.
      bins: of each histogram, at least 1.

    Returns:
      ``(N,)``, from 0 to about 11.5.

    Raises:
      ValueError: if there are no bins, the shapes differ, or a margin is NaN.

    >>> margins = np.array([[0.0, 0.0], [1.0, 1.0]])
    >>> klom(margins, np.array([[0.0, 5.0], [1.0, 6.0]])).round(2)
    array([ 0.  , 10.82])
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}: give at least 1.")
    unlearned, retrained = matched_margins(unlearned, retrained, at_least=1)
    p, q = _shares(unlearned, retrained, bins)
    q = np.maximum(q, _LEAST)
    return rel_entr(p, q / q.sum(axis=0)).sum(axis=0)


def _shares(unlearned: np.ndarray, retrained: np.ndarray, bins: int):
    """The share of the models in each bin, ``(bins, N)``, of both."""
    low, high = np.min([unlearned, retrained], (0, 1)), np.max([unlearned, retrained], (0, 1))
    width = np.where(high > low, high - low, 1.0) / bins
    for margins in (unlearned, retrained):
        # The largest margin belongs to the last bin.
        bin_of = np.minimum((margins - low) / width, bins - 1).astype(int)
        yield (bin_of == np.arange(bins)[:, None, None]).mean(axis=1)
