"""The exact test of a fall in accuracy, from how many examples were harmed and helped."""

import numpy as np
from scipy.special import betainc, betaincc, betaincinv, betaln, xlog1py, xlogy

# Eight nodes and more a standard deviation of what is integrated over.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(128)
_NEGLIGIBLE = 1e-15


def fall_p_value(harmed: int, helped: int, count: int, margin: float) -> float:
    """The p-value of ``P(harmed) - P(helped) >= margin`` against a smaller fall.

    Of ``count`` independent examples ``harmed`` were right before and are wrong now, ``helped`` the
    other way round, and the rest did not change. With shares of the population

    ``(H, U, G) ~ Dirichlet(harmed + 1, count - harmed - helped, helped)``,  ``p = P(H - G >= m)``.

    This is Gaffke's test of a mean (``alignment.gaffke_test``) for the three changes 1, 0 and -1:
    the numbers seen cut the population into ``count + 1`` random shares, and the share beyond the
    worst one is taken for harmed. Where none was helped it is Clopper and Pearson's exact binomial
    test, ``p = P(Binomial(count, m) <= harmed)``, so that nothing changed in ``n`` examples leaves
    a fall of about ``3 / n`` possible. It is valid at every ``count`` as far as is known: proved
    for two kinds of changes, conjectured for more, and for three checked by summing over all
    outcomes (``tests/evaluation/test_paired_falls.py``). One numerical integral, to about 1e-12.

    Args:
      harmed: right before, wrong now.
      helped: wrong before, right now.
      count: of all examples, at least 1.
      margin: a difference of shares, in ``[-1, 1]``.

    Returns:
      A number in ``[0, 1]``, not increasing in the margin.

    N. Gaffke (2005), "Three test statistics for a nonparametric one-sided hypothesis on the mean of
    a nonnegative variable"; E. Learned-Miller and P. S. Thomas (2019), "A new confidence interval
    for the mean of a bounded random variable", arXiv:1905.06208; C. J. Clopper and E. S. Pearson
    (1934), Biometrika 26.

    >>> round(fall_p_value(harmed=0, helped=0, count=100, margin=0.03), 4) == round(0.97**100, 4)
    True
    >>> round(fall_p_value(harmed=10, helped=12, count=500, margin=0.02), 4)
    0.0118
    """
    share = _difference_tail(harmed + 1, helped, count - harmed - helped, margin)
    return min(max(share, 0.0), 1.0)


def _difference_tail(a: int, b: int, c: int, margin: float) -> float:
    """``P(A - B >= margin)`` of Dirichlet shares with whole parameters, ``a`` at least 1."""
    if margin <= -1:
        return 1.0
    if b > a:
        # So that it is the narrower share that is integrated over.
        return 1.0 - _difference_tail(b, a, c, -margin)
    if c == 0:
        return 1.0 if b == 0 else float(betainc(b, a, np.clip((1 - margin) / 2, 0, 1)))
    if b == 0:
        return float(betaincc(a, c, np.clip(margin, 0, 1)))
    # Given B, A is (1 - B) times a Beta(a, c). Up to B = -margin no A is too small.
    certain = max(-margin, 0.0)
    low = max(float(betaincinv(b, a + c, _NEGLIGIBLE)), certain)
    high = min(float(betaincinv(b, a + c, 1 - _NEGLIGIBLE)), (1 - margin) / 2)
    width = max(high - low, 0.0)
    share = low + width * (_NODES + 1) / 2
    density = np.exp(xlogy(b - 1, share) + xlog1py(a + c - 1, -share) - betaln(b, a + c))
    tail = betaincc(a, c, np.clip((margin + share) / (1 - share), 0, 1))
    return float(betainc(b, a + c, certain) + width / 2 * np.sum(_WEIGHTS * density * tail))
