"""What the rules let pass by themselves, at every level and number of examples that choose.

Every coordinate is put at the boundary, where the mean of its gradient is 0, and then four standard
errors to the good side of it. `calibration_certified` has what a certificate makes of the rest.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from calibration_populations import Population, generator
from calibration_proposals import CHOOSING, COORDINATES, STEP, proposal, select
from calibration_task import Point, Setting, load_task
from calibration_tests import ALPHAS, POWER_SHIFT
from calibration_truth import per_example_gradients
from jax.flatten_util import ravel_pytree

from feasible_jax.moments import GradientMoments
from feasible_jax.unlearning.batches import draw_batch
from feasible_jax.unlearning.observation import Observation

Row = dict[str, Any]


def synthetic_cells(
    population: Population, rules: tuple[str, ...], batch_sizes: tuple[int, ...], draws: int
) -> list[Row]:
    """A row for each rule and number of examples, of independent coordinates that are all alike."""
    updates, ones = jnp.full(COORDINATES, STEP), np.ones(COORDINATES, np.float32)
    judge, rows = _judge(rules, _as_it_is), []
    for size in batch_sizes:
        rng, tally = generator(population.name, size), _Tally(rules)
        for number in range(draws):
            drawn = population.draw(rng, (size, COORDINATES))
            mean, variance = np.float32(drawn.mean(0)), np.float32(drawn.var(0, ddof=1))
            tally.add(judge(updates, updates, mean, variance, ones, 0 * ones, size, number))
        rows += [{"population": population.name, "B": size} | row for row in tally.rows()]
    return rows


def real_cells(
    point: Point, rules: tuple[str, ...], batch_sizes: tuple[int, ...], draws: int
) -> list[Row]:
    """A row for each rule and number of examples, at one point of a run.

    The retain batch of a method that takes one is the one that chooses. Besides `_Tally.rows`:
    ``applied``, in how many draws the gradients as they are let anything pass, and ``slope_up``, in
    how many of these ``<grad R, update> > 0`` on the whole retain set.
    """
    params, about = point.params, point.about()
    propose = _proposal_from_moments(*point[:3])
    gradients = per_example_gradients(point.task, params)
    slope = gradients.mean(0, dtype=np.float64).astype(np.float32)
    deviation = gradients.std(0)
    judge, rows = _judge(rules, _unravel(*point[:2])), []
    for size in batch_sizes:
        rng, tally = generator(*about.values(), size), _Tally(rules)
        for number in range(draws):
            seen = moments_of_batch(gradients, rng.integers(0, len(gradients), size))
            key = jax.random.fold_in(jax.random.key(point.step), number)
            centred, as_they_are = propose(params, np.stack([seen[0] - slope, seen[0]]), key)
            tally.add(judge(centred, as_they_are, *seen, deviation, slope, size, number))
        rows += [about | {"B": size} | row for row in tally.rows()]
    return rows


def moments_of_batch(gradients: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased variance of some rows, exactly 0 where all of these are."""
    rows = gradients[chosen]
    mean = rows.mean(0)
    rows -= mean
    return mean, np.einsum("bp,bp->p", rows, rows) / np.float32(len(chosen) - 1)


def _as_it_is(flat: jax.Array) -> jax.Array:
    return flat


@cache  # one object for all points, so that nothing is compiled twice
def _unravel(setting: Setting, scenario: str) -> Callable[[jax.Array], Any]:
    return ravel_pytree(load_task(setting, scenario).params)[1]


@cache
def _proposal_from_moments(setting: Setting, scenario: str, base: str) -> Callable:
    """A jitted ``(params, means, key) -> updates``, both ``(2, P)``, from one forget batch."""
    task, propose = load_task(setting, scenario), proposal(setting, scenario, base)
    forget, unravel = jax.tree.map(jnp.asarray, task.forget), _unravel(setting, scenario)

    def propose_each(params: Any, means: jax.Array, key: jax.Array) -> jax.Array:
        draw_key, loss_key = jax.random.split(key)
        batches = {"forget": draw_batch(draw_key, forget, CHOOSING), "retain": None}

        def of(mean: jax.Array) -> jax.Array:
            seen = Observation(jnp.zeros(()), unravel(mean), None)
            return ravel_pytree(propose(params, seen, batches, loss_key))[0]

        return jnp.stack([of(mean) for mean in means])

    return jax.jit(propose_each)


@cache
def _judge(rules: tuple[str, ...], unravel: Callable) -> Callable:
    """``(updates, as they are, mean, variance, deviation, slope, count, seed) -> verdicts``.

    All but the last two are ``(P,)``; mean and variance are those of the batch, and its population
    less the slope is at the boundary. Verdicts are five of ``(rules, levels)``: the share that
    passes at the boundary, the same four standard errors off it, whether anything passes at it,
    whether anything passes of the updates as they are, and whether the slope of that points up.
    """
    confidences = jnp.asarray([1 - alpha for alpha in ALPHAS], jnp.float32)

    def judge(updates, as_they_are, mean, variance, deviation, slope, count, seed):
        count = jnp.asarray(count, jnp.float32)
        good = -jnp.sign(updates) * POWER_SHIFT * deviation / jnp.sqrt(count)
        tested = (deviation > 0) & (updates != 0)

        def verdict(rule, confidence):
            def passed(updates, at):
                seen = GradientMoments(unravel(at), unravel(variance), count)
                found = select(rule, unravel(updates), seen, seed, lambda step: confidence)
                return ravel_pytree(found)[0]

            boundary, aligned = (passed(updates, mean - slope + off) for off in (0, good))
            shares = [_share(rule, new, updates, tested) for new in (boundary, aligned)]
            anything = jnp.any((boundary != 0) & tested)
            real = passed(as_they_are, mean)
            up = jnp.any(real != 0) & (jnp.vdot(real, slope, precision="highest") > 0)
            return jnp.stack([*shares, anything, jnp.any(real != 0), up])

        return jnp.stack([jax.vmap(lambda c, r=r: verdict(r, c))(confidences) for r in rules])

    return jax.jit(judge)


def _share(rule: str, new: jax.Array, updates: jax.Array, tested: jax.Array) -> jax.Array:
    if rule == "projection":  # no mask: it lets the whole pass as it is, or does not
        return jnp.all(new == updates).astype(jnp.float32)
    kept = jnp.where(tested, new / jnp.where(tested, updates, 1), 0)
    return jnp.sum(kept) / jnp.maximum(jnp.sum(tested), 1)


class _Tally:
    """Verdicts of many draws, added up."""

    def __init__(self, rules: tuple[str, ...]):
        self._rules = rules
        self._verdicts: list[np.ndarray] = []

    def add(self, verdicts: jax.Array) -> None:
        """``(rules, levels, 5)`` of a draw."""
        self._verdicts.append(np.asarray(verdicts))

    def rows(self) -> list[Row]:
        """A row a rule; in its lists an entry a level.

        ``passes`` and ``aligned``: the mean share that passes at the boundary and four standard
        errors off it, of the coordinates (of a soft mask the mean factor, of a projection the share
        of draws that it leaves alone), with standard errors over draws. Counts of draws: ``any`` in
        which something passes at the boundary; ``applied`` and ``slope_up`` of the gradients as
        they are.
        """
        found = np.asarray(self._verdicts, np.float64)
        means = found.mean(0)
        errors = found.std(0, ddof=1) / np.sqrt(len(found)) if len(found) > 1 else 0 * means
        rows = []
        for number, rule in enumerate(self._rules):
            row: Row = {"rule": rule, "draws": len(found)}
            for place, name in enumerate(("passes", "aligned")):
                row[name] = _rounded(means[number, :, place])
                row[f"{name}_error"] = _rounded(errors[number, :, place])
            for place, name in enumerate(("any", "applied", "slope_up"), 2):
                row[name] = found[:, number, :, place].sum(0).astype(int).tolist()
            rows.append(row)
        return rows


def _rounded(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
