"""A rule to compare with: projection of the update on what does no harm, heedful of noise."""

from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.feasibility.rule import Proposal, Rule, Selection, check_decay, stateless
from feasible_jax.moments.precision import accumulation_dtype


def projection(noise_aware: bool = True, evidence_decay: float = 0.0) -> Rule:
    """Take off the update what probably speaks against a constraint, along that mean gradient.

    A-GEM (Chaudhry et al., 2019) and PCGrad (Yu et al., 2020): where ``h = sigma <mean, Delta>``
    is above 0, ``Delta`` becomes ``Delta - sigma h mean / |mean|^2``. With this library's test,
    ``h`` is replaced by its upper confidence bound ``h + c sqrt(sum Delta_i^2 variance_i / B)`` and
    the squared length of the true gradient estimated without bias, ``|mean|^2 - sum variance_i /
    B``: where noise alone makes the gradient, there is nothing to project on, and nothing passes.
    Constraints are taken one after another.

    The bound takes coordinates for uncorrelated, for moments hold no correlations, and those of
    real gradients make ``h`` far noisier: on the recentred gradients of a CNN, at a nominal 5%, it
    left 43% of gradient ascent's updates as they were with 64 examples, and 35% with 1024
    (``benchmarks/calibration.py``). Chain ``certify_updates`` after it, which sees the whole.

    Args:
      noise_aware: use the test; False for A-GEM as it is.
      evidence_decay: average the evidence over time, each batch weighing this much less at each
        later step, in [0, 1).

    Returns:
      A ``Rule`` for ``feasible_updates(rule=...)``; it moves coordinates rather than masking them.

    Raises:
      ValueError: for an ``evidence_decay`` outside [0, 1).

    >>> import jax.numpy as jnp
    >>> from feasible_jax.feasibility import feasible_updates
    >>> tx = feasible_updates(decrease=("retain",), rule=projection(noise_aware=False))
    >>> retain = jnp.array([[1.0, 1.1], [1.0, 0.9]])
    >>> updates, state = tx.update(jnp.array([1.0, 0.0]), tx.init(jnp.zeros(2)), retain=retain)
    >>> [round(u, 2) for u in updates.tolist()]
    [0.5, -0.5]
    """
    check_decay(evidence_decay)

    def select(proposal: Proposal, state: Any) -> tuple[Selection, Any]:
        leaves = tuple(u.astype(accumulation_dtype(u)) for u in proposal.updates)
        possible, passes = jnp.ones((), bool), {}
        for c in proposal.constraints:
            leaves, free, might = _project(leaves, proposal, c.name, c.sign, noise_aware)
            possible &= might
            passes[c.name] = tuple(jnp.broadcast_to(free, u.shape) for u in leaves)
        keep = tuple(jnp.broadcast_to(possible, u.shape) for u in leaves)
        return Selection(keep, passes, updates=leaves), state

    name = "projection" if noise_aware else "A-GEM projection"
    return Rule(name, "moments", stateless, select, evidence_decay)


def _project(leaves, proposal: Proposal, name: str, sign: float, noise_aware: bool):
    """The projected leaves, whether nothing had to be done, and whether it could be."""
    evidence = proposal.evidence[name]
    count = jnp.maximum(jnp.asarray(evidence.count, jnp.float32), 1)
    means = [m.astype(u.dtype) for m, u in zip(evidence.mean, leaves, strict=True)]
    variances = [
        v.astype(u.dtype) / count.astype(u.dtype)
        for v, u in zip(evidence.variance, leaves, strict=True)
    ]
    harm = sign * _sum(m * u for m, u in zip(means, leaves, strict=True))
    length = _sum(m * m for m in means)
    if noise_aware:
        noise = _sum(v * u * u for v, u in zip(variances, leaves, strict=True))
        harm = harm + proposal.critical[name].astype(jnp.float32) * jnp.sqrt(noise)
        length = length - _sum(variances)
    # One observation tells nothing of noise.
    known = jnp.isfinite(harm) & ((jnp.asarray(evidence.count) > 1) | (not noise_aware))
    free = known & (harm <= 0)
    might = known & (free | (length > 0))
    factor = jnp.where(free | (length <= 0), 0, sign * harm / jnp.where(length > 0, length, 1))
    moved = (u - factor.astype(u.dtype) * m for u, m in zip(leaves, means, strict=True))
    return tuple(jnp.where(free, u, v) for u, v in zip(leaves, moved, strict=True)), free, might


def _sum(terms) -> jax.Array:
    return sum((jnp.sum(term).astype(jnp.float32) for term in terms), jnp.float32(0))
