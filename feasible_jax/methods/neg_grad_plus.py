"""NegGrad+: descend on the retain set, climb on the forget set."""

from feasible_jax.methods.method import Method, Objective


def neg_grad_plus(retain_weight: float = 0.95) -> Method:
    """Minimise ``a mean CE(retain) - (1 - a) mean CE(forget)``.

    NegGrad+ of Kurmanji et al. (2023).

    Args:
      retain_weight: ``a``, in [0, 1].

    Returns:
      A ``Method``.

    Raises:
      ValueError: if ``retain_weight`` lies outside [0, 1].

    >>> [round(w, 2) for w in neg_grad_plus().weights]
    [0.95, -0.05]
    """
    if not 0 <= retain_weight <= 1:
        raise ValueError(f"retain_weight={retain_weight}: give a number in [0, 1].")
    objectives = (Objective("retain", "retain"), Objective("forget", "forget"))
    return Method("NegGrad+", objectives, (retain_weight, -(1.0 - retain_weight)))
