"""Fine-tuning: go on training on the retain set and hope that the rest fades."""

from feasible_jax.methods.method import Method, Objective


def fine_tuning() -> Method:
    """Minimise the retain loss, ``mean CE(retain)``.

    The FT baseline of Golatkar et al. (2020): it leans on catastrophic forgetting alone, and so
    keeps utility and forgets little.

    Returns:
      A ``Method``.

    >>> fine_tuning().name
    'fine-tuning'
    """
    return Method("fine-tuning", (Objective("retain", "retain"),), (1.0,))
