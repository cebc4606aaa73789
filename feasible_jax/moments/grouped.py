"""Moments of group means: a few plain gradients instead of one an example."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from feasible_jax.moments.gradient_moments import GradientMoments
from feasible_jax.moments.per_example import check_batch, replace_padding, vary_like
from feasible_jax.moments.precision import accumulation_dtype, lift_squares, unbiased_variance


def grouped_moments(
    loss_fn: Callable[[Any, Any], Any],
    params: Any,
    batch: Any,
    weights: Any,
    groups: int,
    *,
    third: bool = False,
    has_aux: bool = False,
) -> tuple[Any, GradientMoments]:
    """The moments of a batch from the mean gradients of ``groups`` parts of it.

    For models too large for the exact forms: it costs a plain gradient and holds a few copies of
    the parameters, whatever ``B`` and ``groups``. The price is certainty: the mean is that of the
    batch, but its variance rests on ``G`` observations, the means ``m_g`` of the non-empty groups,
    and Student's t has ``G - 1`` degrees of freedom. With ``W_g`` the weight of a group, ``W`` of
    the batch and ``r_g = G W_g / W`` (all 1 where groups are equal)::

        mean     = sum_g r_g m_g / G
        variance = sum_g r_g (m_g - mean)^2 / (G - 1)
        third    = sum_g r_g^2 (m_g - mean)^3 / (G - 3 + 2 sum_g r_g^2 / G^2)

    For weights 0 and 1, ``variance / count`` and ``third / count^2`` are unbiased for the variance
    and the third central moment of the batch's mean, however unequal the groups; for gradients
    that are normal the t statistic is exactly Student's.

    Examples are dealt out in turn (example ``n`` to group ``n % groups``), so that groups differ
    by one example at most and padding at the end of a batch is shared; the examples of a batch
    should be independent draws. Every group mean counts as one observation: merge or reduce such
    moments with those of batches of the same weight and the same number of groups.

    Args:
      loss_fn: ``(params, example) -> scalar`` for ONE example.
      params: the parameters. Group means have their dtype, and are summed in float32 or wider.
      batch: a tree of arrays with a leading axis of ``B`` examples.
      weights: ``(B,)`` how often each example counts, None for once each; 0 marks padding, which
        may hold anything, NaN included.
      groups: the number of groups, in [2, B].
      third: also take the third central moment, of a group mean; with few groups it is noise.
      has_aux: whether ``loss_fn`` returns ``(scalar, aux)``.

    Returns:
      ``(losses, moments)``: ``(B,)`` in the order of the batch, and ``GradientMoments`` whose
      ``count`` is the number of non-empty groups; the variance is ``+inf`` with fewer than two of
      them and the third NaN with fewer than three. Where ``has_aux``, ``((losses, aux), moments)``
      with a leading axis of ``B`` on every leaf of aux. Losses and aux of padding are those of the
      first real example.

    Raises:
      ValueError: if ``groups`` is not in [2, B], the batch is empty or ragged, or ``weights`` is
        not ``(B,)``.

    >>> import jax.numpy as jnp
    >>> loss = lambda w, x: w * x
    >>> losses, moments = grouped_moments(
    ...     loss, jnp.array(1.0), jnp.array([1.0, 2.0, 3.0, 6.0]), None, groups=2)
    >>> float(moments.mean), float(moments.variance), float(moments.count), losses.tolist()
    (3.0, 2.0, 2.0, [1.0, 2.0, 3.0, 6.0])
    """
    size = check_batch(batch, weights)
    if not 2 <= groups <= size:
        raise ValueError(
            f"groups={groups}, the batch has {size} examples: give at least 2 groups, and at most "
            "one an example."
        )
    batch = replace_padding(batch, weights)
    dtype = accumulation_dtype(*jax.tree.leaves(params))
    weights = jnp.ones((size,), dtype) if weights is None else jnp.asarray(weights).astype(dtype)
    params = vary_like(params, (batch, weights))
    fractions, relative, count = _shares(weights, groups)

    def mean_loss(params, examples, fractions):
        out = jax.vmap(loss_fn, in_axes=(None, 0))(params, examples)
        losses = out[0] if has_aux else out
        dtype = accumulation_dtype(losses, fractions)
        # A product of vectors and not of arrays: a loss that is no scalar is refused by `grad`.
        return jnp.dot(fractions.astype(dtype), losses.astype(dtype), precision="highest"), out

    def step(sums, group):
        examples, fractions, r = group
        (_, seen), mean = jax.value_and_grad(mean_loss, has_aux=True)(params, examples, fractions)
        return _add(sums, mean, r), seen

    start = _nothing(params, vary_like(jnp.zeros((), dtype), (batch, weights)), third)
    sums, seen = jax.lax.scan(step, start, (_deal(batch, groups), fractions, relative))
    return jax.tree.map(lambda leaf: _collect(leaf, size), seen), _moments(sums, count)


class _Sums(NamedTuple):
    """Running sums over groups of weight ``r`` whose means lie ``d`` from the mean so far."""

    weight: jax.Array  # sum of r
    mean: Any
    squares: Any  # sum of r d^2
    powers: tuple[Any, ...]  # sums of r^2 d^k for k = 0, 1, 2, 3 where a third is asked for


def _deal(batch: Any, groups: int) -> Any:
    """Every leaf as ``(groups, ceil(B / groups), ...)``, filled up with copies of the first row.

    Dealing in turn leaves a batch that is sharded over devices sharded within every group.
    """

    def deal(leaf):
        leaf = jnp.asarray(leaf)
        fill = -leaf.shape[0] % groups
        leaf = jnp.concatenate([leaf, jnp.broadcast_to(leaf[:1], (fill, *leaf.shape[1:]))])
        return leaf.reshape((-1, groups, *leaf.shape[1:])).swapaxes(0, 1)

    return jax.tree.map(deal, batch)


def _collect(dealt: jax.Array, size: int) -> jax.Array:
    return dealt.swapaxes(0, 1).reshape((-1, *dealt.shape[2:]))[:size]


def _shares(weights: jax.Array, groups: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Each example's share of its group's mean, each group's weight ``r_g``, and ``G``."""
    dealt = jnp.pad(weights, (0, -weights.shape[0] % groups)).reshape((-1, groups)).T
    totals = jnp.sum(dealt, axis=1)
    whole = jnp.sum(totals)
    count = jnp.sum(totals > 0, dtype=weights.dtype)
    relative = totals / jnp.where(whole > 0, whole, 1) * count
    return dealt / jnp.where(totals > 0, totals, 1)[:, None], relative, count


def _nothing(params: Any, weight: jax.Array, third: bool) -> _Sums:
    def zeros():
        return jax.tree.map(
            lambda leaf: jnp.zeros_like(leaf, dtype=accumulation_dtype(leaf)), params
        )

    powers = (weight, zeros(), zeros(), zeros()) if third else ()
    return _Sums(weight, zeros(), zeros(), powers)


def _add(sums: _Sums, group_mean: Any, r: jax.Array) -> _Sums:
    """The sums with one more group, moved to the new mean."""
    weight = sums.weight + r
    part = r / jnp.where(weight > 0, weight, 1)

    def apart(group_mean, mean):
        # An empty group has no mean: it must not bring a NaN or an infinity along.
        return jnp.where(r > 0, group_mean.astype(mean.dtype) - mean, 0)

    def add_squares(squares, delta):
        # Innermost first: the first group must weigh nothing before its square overflows.
        squares = squares + delta * (delta * (sums.weight * part).astype(delta.dtype))
        differ = (delta != 0) & (sums.weight > 0)
        return lift_squares(squares, differ, weight.astype(delta.dtype))

    deltas = jax.tree.map(apart, group_mean, sums.mean)
    moves = jax.tree.map(lambda delta: delta * part.astype(delta.dtype), deltas)
    mean = jax.tree.map(jnp.add, sums.mean, moves)
    squares = jax.tree.map(add_squares, sums.squares, deltas)
    return _Sums(weight, mean, squares, _add_powers(sums.powers, deltas, moves, r * r))


def _add_powers(powers: tuple, deltas: Any, moves: Any, r2: jax.Array) -> tuple:
    if not powers:
        return ()
    zeroth, *others = powers

    def add(first, second, cubes, delta, move):
        a0, new = zeroth.astype(delta.dtype), r2.astype(delta.dtype)
        left = delta - move
        return (
            first - move * a0 + new * left,
            second - move * (2 * first - move * a0) + new * left * left,
            cubes - move * (3 * second - move * (3 * first - move * a0)) + new * left * left * left,
        )

    by_leaf = jax.tree.map(add, *others, deltas, moves)
    moved = (jax.tree.map(lambda _, parts, k=k: parts[k], deltas, by_leaf) for k in range(3))
    return zeroth + r2, *moved


def _moments(sums: _Sums, count: jax.Array) -> GradientMoments:
    def unbiased_third(cubes):
        known = count > 2
        groups = jnp.where(known, count, 3)
        factor = groups - 3 + 2 * (sums.powers[0] / groups) / groups
        return jnp.where(known, cubes / jnp.where(known, factor, 1).astype(cubes.dtype), jnp.nan)

    variance = jax.tree.map(
        lambda squares: unbiased_variance(squares, count.astype(squares.dtype)), sums.squares
    )
    third = jax.tree.map(unbiased_third, sums.powers[3]) if sums.powers else None
    return GradientMoments(sums.mean, variance, count, third)
