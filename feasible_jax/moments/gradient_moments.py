"""The moments and count of per-example gradients, and how a stack of them gives them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from feasible_jax.moments.precision import (
    accumulation_dtype,
    lift_squares,
    unbiased_third,
    unbiased_variance,
)


class GradientMoments(NamedTuple):
    """What a batch of per-example gradients says about the population's gradient.

    Attributes:
      mean: the mean gradient, a tree shaped like the parameters, float32 or wider.
      variance: the unbiased variance of ONE observation, a tree shaped like the parameters;
        ``+inf`` where fewer than two observations were seen, since one tells nothing of noise.
        The squared standard error of the mean is ``variance / count``.
      count: the number of observations behind them, a scalar of a floating dtype.
      third: the unbiased third central moment of ONE observation, a tree shaped like the
        parameters, NaN where fewer than three observations were seen; None unless asked for.

    >>> import jax.numpy as jnp
    >>> moments = GradientMoments(mean=jnp.array([0.5]), variance=jnp.array([4.0]), count=16.0)
    >>> float(standard_error(moments)[0])
    0.5
    """

    mean: Any
    variance: Any
    count: Any
    third: Any = None


def standard_error(moments: GradientMoments) -> Any:
    """The standard error of each coordinate of the mean, ``sqrt(variance / count)``.

    Args:
      moments: the moments of any tree.

    Returns:
      A tree shaped like ``moments.mean``; ``+inf`` where fewer than two observations were seen.

    >>> import jax.numpy as jnp
    >>> moments = moments_from_per_example({"w": jnp.array([[1.0], [3.0]])})
    >>> float(standard_error(moments)["w"][0])
    1.0
    """
    return jax.tree.map(lambda v: jnp.sqrt(v / jnp.maximum(moments.count, 1)), moments.variance)


def moments_from_per_example(
    per_example_grads: Any, weights: Any = None, *, third: bool = False
) -> GradientMoments:
    """The moments of a stack of per-example gradients.

    The mean is taken first and the powers of the deviations from it are summed after (two passes),
    so nothing cancels where the mean is large beside the standard deviation:
    ``mean = sum_n w_n g_n / W``, ``variance = sum_n w_n (g_n - mean)^2 / (W - 1)`` and
    ``third = W / ((W - 1) (W - 2)) * sum_n w_n (g_n - mean)^3`` (Fisher's k-statistic), with
    ``W = sum_n w_n``.

    Args:
      per_example_grads: a tree whose every leaf is ``(B, *param.shape)``, of a real floating dtype.
      weights: ``(B,)`` how often each example counts, a whole number, None for once each; 0 marks
        padding, and a padded row may hold anything, NaN included.
      third: also take the third central moment.

    Returns:
      ``GradientMoments`` in float32 or wider. With one observation the variance is ``+inf``; with
      none the mean is 0 as well. Observations that differ by too little to be squared in this
      dtype get a variance that is too large (about 1e-35 in float32), never 0. Cubes that
      underflow (deviations below about 1e-13 in float32) count as 0 in the third moment.

    Raises:
      ValueError: if the tree has no leaves, or leaves disagree about ``B``, or ``weights`` is not
        ``(B,)``.
      TypeError: if a leaf is not of a real floating dtype.

    >>> import jax.numpy as jnp
    >>> moments = moments_from_per_example({"w": jnp.array([[1.0, 0.0], [3.0, 0.0]])})
    >>> moments.mean["w"].tolist(), moments.variance["w"].tolist(), float(moments.count)
    ([2.0, 0.0], [2.0, 0.0], 2.0)
    >>> moments_from_per_example(jnp.array([0.0, 0.0, 3.0]), third=True).third.tolist()
    9.0
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(per_example_grads)
    leaves = [(path, jnp.asarray(leaf)) for path, leaf in leaves]
    size = _batch_size(leaves)
    for path, leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(
                f"per_example_grads{jax.tree_util.keystr(path)} has dtype {leaf.dtype}: "
                "moments are defined for real floating gradients."
            )
    weights = jnp.ones((size,)) if weights is None else jnp.asarray(weights)
    if weights.shape != (size,):
        raise ValueError(
            f"weights has shape {weights.shape}, the batch {size} examples: give ({size},)."
        )
    by_leaf = [_leaf_moments(leaf, weights, third) for _, leaf in leaves]
    mean, variance, *cubic = (treedef.unflatten(part) for part in zip(*by_leaf, strict=True))
    count = jnp.sum(weights, dtype=accumulation_dtype(*jax.tree.leaves(mean)))
    return GradientMoments(mean, variance, count, *cubic)


def _batch_size(leaves) -> int:
    if not leaves:
        raise ValueError("per_example_grads has no leaves: give one array a parameter.")
    sizes = {leaf.shape[:1] for _, leaf in leaves}
    if len(sizes) > 1 or () in sizes:
        shapes = ", ".join(f"{jax.tree_util.keystr(p)}: {leaf.shape}" for p, leaf in leaves[:8])
        raise ValueError(
            f"per_example_grads must have one leading axis of examples on every leaf, got {shapes}."
        )
    (size,) = sizes.pop()
    return size


def _leaf_moments(grads: jax.Array, weights: jax.Array, third: bool) -> tuple[jax.Array, ...]:
    grads = grads.astype(accumulation_dtype(grads))
    weights = weights.astype(grads.dtype)
    count = jnp.sum(weights)
    real = (weights > 0).reshape((-1,) + (1,) * (grads.ndim - 1))
    grads = jnp.where(real, grads, 0)
    # Dividing the weights, not the sum, keeps a sum of huge gradients from overflowing.
    mean = _over_examples(weights / jnp.where(count > 0, count, 1), grads)
    deviations = jnp.where(real, grads - mean[None], 0)
    squares = _over_examples(weights, deviations * deviations)
    differ = _over_examples(weights, jnp.abs(deviations)) > 0
    variance = unbiased_variance(lift_squares(squares, differ, count), count)
    if not third:
        return mean, variance
    # The mean's own rounding would enter three times the variance times itself.
    rounding = _over_examples(weights / jnp.where(count > 0, count, 1), deviations)
    deviations = jnp.where(real, deviations - rounding[None], 0)
    cubes = _over_examples(weights, deviations * deviations * deviations)
    return mean, variance, unbiased_third(cubes, count)


def _over_examples(weights: jax.Array, values: jax.Array) -> jax.Array:
    """The weighted sum over the leading axis, as a matrix product.

    XLA's reduction over a leading axis is an order of magnitude slower than that on a CPU.
    """
    return jnp.tensordot(weights, values, axes=1, precision=jax.lax.Precision.HIGHEST)
