"""NPO: negative preference optimisation, an ascent that stops where it has gone far enough."""

import jax

from feasible_jax.methods.method import Method, Objective, Problem


def npo(beta: float = 0.1, forget_weight: float = 1.0, retain_weight: float = 1.0) -> Method:
    """Minimise ``gamma mean NPO(forget) + alpha mean CE(retain)``.

    NPO of Zhang et al. (2024) on class probabilities, with the retain term of its GradDiff form::

        NPO = -(2 / beta) log sigmoid(beta (CE - CE_0))

    where ``CE = -log p(label)`` is the training loss, and ``CE_0`` that of the model before
    unlearning. At first this is plain ascent; the weight of an example, ``2 sigmoid(-beta (CE -
    CE_0))``, falls as its loss rises, so the ascent cannot run away.

    Args:
      beta: how soon an example counts as forgotten, > 0; 0 would be plain ascent.
      forget_weight: ``gamma``, >= 0.
      retain_weight: ``alpha``, >= 0.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if ``beta`` is not positive, or a weight is negative.

    >>> npo().weights
    (1.0, 1.0)
    """
    check_preference(beta, forget_weight, retain_weight)

    def loss(problem: Problem, params, example, key):
        del key
        risen = problem.loss_fn(params, example) - problem.loss_fn(problem.original_params, example)
        return negative_preference(risen, beta)

    objectives = (Objective("forget, NPO", "forget", loss), Objective("retain", "retain"))
    return Method("NPO", objectives, (forget_weight, retain_weight))


def negative_preference(margin: jax.Array, beta: float) -> jax.Array:
    """``-(2 / beta) log sigmoid(beta margin)``.

    >>> import jax.numpy as jnp
    >>> round(float(negative_preference(jnp.array(0.0), 2.0)), 4)
    0.6931
    """
    return jax.nn.softplus(-beta * margin) * (2 / beta)


def check_preference(beta: float, forget_weight: float, retain_weight: float) -> None:
    """Raise a ``ValueError`` that names the setting that is out of range."""
    if not beta > 0:
        raise ValueError(f"beta={beta}: give a number > 0.")
    for name, weight in (("forget_weight", forget_weight), ("retain_weight", retain_weight)):
        if not weight >= 0:
            raise ValueError(f"{name}={weight}: give a number >= 0.")
