"""Did utility fall by less than a margin? A paired test on examples that no step has seen."""

from typing import NamedTuple

import numpy as np

from feasible_jax.evaluation.paired_falls import fall_p_value
from feasible_jax.evaluation.pairs import check_level, paired
from feasible_jax.evaluation.per_example import correct
from feasible_jax.evaluation.predictions import Predictions
from feasible_jax.evaluation.smallest_accepted import smallest_accepted


class NonInferiority(NamedTuple):
    """What a paired test says about a fall of utility, in points of accuracy or nats of loss.

    Attributes:
      fall: the fall on these examples; negative where utility rose.
      bound: utility fell by at most this, at the confidence of the test: the smallest margin that
        would have been accepted. Negative where a rise is certain; infinite where nothing is.
      p_value: of the hypothesis that it fell by the margin or more.
      non_inferior: whether that hypothesis is rejected, ``p_value <= 1 - confidence``.

    >>> NonInferiority(fall=0.1, bound=0.4, p_value=0.02, non_inferior=True).bound
    0.4
    """

    fall: float
    bound: float
    p_value: float
    non_inferior: bool


def non_inferiority(
    original: Predictions | np.ndarray,
    unlearned: Predictions | np.ndarray,
    *,
    margin: float = 0.5,
    confidence: float = 0.95,
) -> NonInferiority:
    """Tests that accuracy fell by less than a margin.

    Of ``n`` examples, ``harmed`` were right before and are wrong now, ``helped`` the other way
    round. With ``(H, U, G) ~ Dirichlet(harmed + 1, n - harmed - helped, helped)``, the p-value of
    "accuracy fell by ``margin`` or more" is ``P(H - G >= margin)``, and the bound is the
    ``confidence`` quantile of ``H - G`` (Gaffke 2005; Learned-Miller and Thomas 2019, see
    ``paired_falls``). No normal approximation is involved, so rare harm is not taken for none:
    where no example changed, the bound is ``1 - (1 - confidence)^(1/n)``, about ``3 / n``.

    Size of the test at 5% for a margin of 0.5 points, summed exactly over all outcomes, the largest
    where 0 to 49% are helped; power where as many are harmed as helped; in brackets the power of an
    exact unconditional test (score statistic, Tango 1998, the level from a maximisation over the
    share of helped examples) and that of two Clopper-Pearson bounds at half the level:

    =====  =====  =================  =================
    n      size   0.2% harmed        1% harmed
    =====  =====  =================  =================
    500    0.047  0.24 (0.26, 0.00)  0.13 (0.18, 0.01)
    2000   0.048  0.90 (0.92, 0.65)  0.41 (0.46, 0.09)
    10000  0.049  1.00 (1.00, 1.00)  0.97 (0.97, 0.76)
    =====  =====  =================  =================

    Args:
      original: of the original model, ``Predictions``, or ``(n,)`` booleans, as from ``correct``.
      unlearned: of the unlearned model on the same examples, in the same order. Neither model may
        have been trained or chosen on them, and they are a random sample of what utility is about.
      margin: the smallest fall that matters, in percent points, in ``[0, 100]``.
      confidence: in ``(0, 1)``.

    Returns:
      ``NonInferiority`` in percent points.

    Raises:
      ValueError: if there are no examples, the two are of different examples, or the margin or the
        confidence is out of range.

    T. Tango (1998), "Equivalence test and confidence interval for the difference in proportions for
    the paired-sample design", Statistics in Medicine 17.

    >>> original = np.arange(1000) < 900
    >>> unlearned = np.arange(1000) < 898
    >>> result = non_inferiority(original, unlearned, margin=1.0)
    >>> round(result.fall, 2), round(result.bound, 2), result.non_inferior
    (0.2, 0.63, True)
    """
    check_level(margin, confidence)
    if margin > 100:
        raise ValueError(f"margin is {margin}: accuracy cannot fall by more than 100 points.")
    before, after = paired(original, unlearned, correct)
    for name, values in (("original", before), ("unlearned", after)):
        if not np.isin(values, (0, 1)).all():
            raise ValueError(
                f"{name} holds values other than 0 and 1: give Predictions, or whether each "
                "example is classified correctly; losses are for loss_non_inferiority."
            )
    before, after = before.astype(bool), after.astype(bool)
    count, harmed, helped = len(before), int(np.sum(before & ~after)), int(np.sum(after & ~before))

    def p_value(share: float) -> float:
        return fall_p_value(harmed, helped, count, share)

    p, level = p_value(margin / 100), 1 - confidence
    bound = smallest_accepted(p_value, level, -1.0, 1.0)
    return NonInferiority(100 * (harmed - helped) / count, 100 * bound, p, p <= level)
