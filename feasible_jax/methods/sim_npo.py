"""SimNPO: negative preference optimisation without a reference model."""

from feasible_jax.methods.method import Method, Objective, Problem
from feasible_jax.methods.npo import check_preference, negative_preference


def sim_npo(
    beta: float = 0.1, margin: float = 0.0, forget_weight: float = 1.0, retain_weight: float = 1.0
) -> Method:
    """Minimise ``gamma mean SimNPO(forget) + alpha mean CE(retain)``.

    SimNPO of Fan et al. (2024) on class probabilities, with a retain term::

        SimNPO = -(2 / beta) log sigmoid(beta (CE - delta))

    where ``CE = -log p(label)`` is the training loss. Unlike ``npo`` it measures from 0 and not
    from the loss before unlearning: examples that were hard before weigh less from the start. The
    paper divides ``CE`` by the number of tokens, of which a class label is one.

    Args:
      beta: how soon an example counts as forgotten, > 0.
      margin: ``delta``, the loss in nats from which on an example counts as forgotten.
      forget_weight: ``gamma``, >= 0.
      retain_weight: ``alpha``, >= 0.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if ``beta`` is not positive, or a weight is negative.

    >>> sim_npo().name
    'SimNPO'
    """
    check_preference(beta, forget_weight, retain_weight)

    def loss(problem: Problem, params, example, key):
        del key
        return negative_preference(problem.loss_fn(params, example) - margin, beta)

    objectives = (Objective("forget, SimNPO", "forget", loss), Objective("retain", "retain"))
    return Method("SimNPO", objectives, (forget_weight, retain_weight))
