"""Gradient ascent: climb the loss of what is to be forgotten."""

from feasible_jax.methods.method import Method, Objective


def gradient_ascent() -> Method:
    """Maximise the forget loss, that is minimise ``-mean CE(forget)``.

    GA, also called NegGrad (Golatkar et al., 2020; Thudi et al., 2022). It sees no retain example
    and destroys the model if nothing stops it.

    Returns:
      A ``Method``.

    >>> gradient_ascent().name
    'gradient ascent'
    """
    return Method("gradient ascent", (Objective("forget", "forget"),), (-1.0,))
