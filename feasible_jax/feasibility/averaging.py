"""Evidence over time: a decayed average of the moments that earlier batches gave."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from feasible_jax.feasibility.counting import count_each
from feasible_jax.feasibility.evidence import like, scalar, zeros_of
from feasible_jax.feasibility.rule import Evidence


class Average(NamedTuple):
    """A weighted average of the evidence so far; the newest batch weighs 1, each older one less.

    Attributes:
      mean: mean gradients, a tree shaped like the parameters.
      variance: variances of one observation, likewise.
      weight: the sum of the batches' weights, a scalar; 0 before the first.
      noise: the sum of ``weight^2 / count``: the average's squared standard error is
        ``variance * noise / weight^2``.
    """

    mean: Any
    variance: Any
    weight: jax.Array
    noise: jax.Array


def empty_average(params: Any) -> Average:
    """The average before any evidence, for parameters of these shapes and dtypes."""
    mean, variance = (zeros_of(params, wide=True) for _ in range(2))
    return Average(mean, variance, weight=scalar(), noise=scalar())


def average_in(before: Average, fresh: Evidence, decay: float) -> tuple[Evidence, Average]:
    """The evidence of all batches so far, the older the less, and the average to keep.

    With weights ``w_k = decay^k`` of the batch ``k`` steps ago, the mean is ``sum w_k mean_k / sum
    w_k``, likewise the variance, and the count that gives the average its standard error is ``(sum
    w_k)^2 / sum (w_k^2 / B_k)``: with batches of ``B`` it grows to ``B (1 + decay) / (1 - decay)``.
    The parameters move meanwhile, so what is gained in noise is paid for in staleness.

    A batch that is not finite somewhere, or has no variance, leaves no trace in the average: where
    it is not finite nothing passes at this step, and elsewhere the batches before it decide.

    Args:
      before: the average so far.
      fresh: this batch's evidence, in the order of the leaves.
      decay: in [0, 1).

    >>> import jax.numpy as jnp
    >>> batch = Evidence((jnp.array([1.0]),), (jnp.array([4.0]),), 8.0)
    >>> _, average = average_in(empty_average((jnp.zeros(1),)), batch, 0.5)
    >>> evidence, _ = average_in(average, batch, 0.5)
    >>> evidence.mean[0].tolist(), round(float(evidence.count), 1)
    ([1.0], 14.4)
    """
    kept = decay * before.weight
    weight = kept + 1

    def mix(old, new):
        return jax.tree.map(
            lambda a, b: (kept.astype(a.dtype) * a + b.astype(a.dtype)) / weight.astype(a.dtype),
            old,
            like(old, new),
        )

    count = jnp.asarray(fresh.count, jnp.float32)
    noise = decay * decay * before.noise + 1 / jnp.maximum(count, 1)
    after = Average(
        mix(before.mean, fresh.mean), mix(before.variance, fresh.variance), weight, noise
    )
    mixed = jax.tree.leaves(after.mean), jax.tree.leaves(after.variance)
    wrong = count_each(*([~jnp.isfinite(leaf) for leaf in leaves] for leaves in mixed))
    sound = (count > 1) & jnp.isfinite(count) & (sum(map(sum, wrong), jnp.float32(0)) == 0)
    kept_average = jax.tree.map(lambda new, old: jnp.where(sound, new, old), after, before)
    return _evidence(kept_average, fresh, count), kept_average


def _evidence(average: Average, fresh: Evidence, count: jax.Array) -> Evidence:
    # The average is written anyway, and read here: what makes it need not be worked out again.
    mean, variance = (
        tuple(jnp.where(jnp.isfinite(new), kept, jnp.nan) for new, kept in zip(*both, strict=True))
        for both in zip(fresh[:2], map(jax.tree.leaves, average[:2]), strict=True)
    )
    noise = jnp.where(average.noise > 0, average.noise, 1)
    seen = average.weight * average.weight / noise
    return Evidence(mean, variance, jnp.where(count > 1, seen, count))
