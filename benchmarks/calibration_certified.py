"""Size and power of the certificates' default test on the updates that each rule selects.

A rule selects at 5%, from examples of its own; the test then sees a fresh batch, of any size, at
any level. `calibration_masks` has what the rules do by themselves.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import calibration_tests
import jax
import jax.numpy as jnp
import numpy as np
from calibration_populations import Population, generator
from calibration_proposals import CHOOSING, COORDINATES, STEP, proposals, select
from calibration_task import Point
from calibration_tests import POWER_SHIFT
from calibration_truth import losses, per_example_gradients
from jax.flatten_util import ravel_pytree

from feasible_jax.alignment import DEFAULT_TEST
from feasible_jax.moments import moments_from_per_example

Row = dict[str, Any]

# The examples that choose a synthetic update see each coordinate so many standard errors on the
# good side: at the boundary itself, some rules select next to nothing to be certified.
_CHOOSING_SHIFT = 2.0
# In how many times as many proposals enough are looked for of which anything passes.
_ROUNDS = 20

_TEST = calibration_tests.TESTS[DEFAULT_TEST]


def real_cells(
    point: Point,
    rules: tuple[str, ...],
    batch_sizes: tuple[int, ...],
    draws: int,
    updates: int,
    loss_updates: int,
) -> list[Row]:
    """A row for each rule, kind of change and batch size, at one point of a run.

    Args:
      point: of a run.
      rules: by name.
      batch_sizes: of the certificate.
      draws: certifying batches, the same number of every update.
      updates: how many each rule selects, every time from a fresh proposal.
      loss_updates: of how many of them the changes of the loss are taken.

    Returns:
      Rows of `_row`.
    """
    task, params, about = point.task, point.params, point.about()
    propose, unravel = proposals(*point[:3], rules), ravel_pytree(params)[1]
    keys = [jax.random.fold_in(jax.random.key(point.step), number) for number in range(updates)]
    found = np.stack([np.asarray(propose(params, key)[0]) for key in keys], 1)
    gradients, before = per_example_gradients(task, params), losses(task, params)
    rows = []
    for rule, flats in zip(rules, found, strict=True):
        moved = (
            jax.tree.map(jnp.add, params, unravel(jnp.asarray(flat)))
            for flat in flats[:loss_updates]
        )
        kinds = {
            "direction": (gradients @ flats.T).T,
            "loss": np.stack([losses(task, new) - before for new in moved]),
        }
        for change, changes in kinds.items():
            changes = changes[changes.std(1) > 0].astype(np.float64)
            if not len(changes):  # nothing was selected
                continue
            for size in batch_sizes:
                rng = generator(*about.values(), rule, change, size)
                row = _real_row(changes, size, draws, rng)
                rows.append(about | {"rule": rule, "change": change} | row)
    return rows


def _real_row(changes: np.ndarray, size: int, draws: int, rng: np.random.Generator) -> Row:
    which = np.arange(draws) % len(changes)
    chosen = rng.integers(0, changes.shape[1], (draws, size))
    unit = changes.std(1)[which]
    mean = changes.mean(1)[which] / unit
    values = changes[which[:, None], chosen] / unit[:, None] - mean[:, None]
    as_it_is = calibration_tests.rejected(_TEST, values + mean[:, None])
    harmful = mean > 0
    return _row(values, size, which) | {
        "updates": len(changes),
        "harmful": int(harmful.sum()),
        "harmless": int((~harmful).sum()),
        "harmful_passed": as_it_is[:, harmful].sum(1).tolist(),
        "harmless_passed": as_it_is[:, ~harmful].sum(1).tolist(),
    }


def _row(values: np.ndarray, size: int, which: np.ndarray | None = None) -> Row:
    """How often an update passes at each level, at the boundary and four standard errors off it.

    Args:
      values: ``(draws, B)`` changes, of mean 0 and standard deviation 1 over each population.
      size: ``B``.
      which: the number of each draw's update, None where each has one of its own.

    Returns:
      ``size`` and ``power``, numbers of draws, an entry a level; with ``which``, the standard
      errors of the shares too, from what the updates differ by.
    """
    shift = POWER_SHIFT / np.sqrt(size)
    row: Row = {"B": size, "draws": len(values)}
    for name, off in (("size", 0.0), ("power", shift)):
        passed = calibration_tests.rejected(_TEST, values - off)
        row[name] = passed.sum(1).tolist()
        if which is not None:
            row[f"{name}_error"] = _errors(passed, which)
    return row


def _errors(passed: np.ndarray, which: np.ndarray) -> list[float]:
    number = which.max() + 1
    if number == 1:
        share = passed.mean(1)
        errors = np.sqrt(share * (1 - share) / passed.shape[1])
    else:
        each = np.stack([passed[:, which == update].mean(1) for update in range(number)])
        errors = each.std(0, ddof=1) / np.sqrt(number)
    return [float(f"{error:.4g}") for error in errors]


def synthetic_cells(
    population: Population, rules: tuple[str, ...], batch_sizes: tuple[int, ...], draws: int
) -> list[Row]:
    """A row for each rule and batch size: an update whose coordinates are independent."""
    updates = {rule: _selected(rule, population, draws) for rule in rules}
    rows = []
    for size in batch_sizes:
        rng = generator(population.name, "fresh", size)
        fresh = population.draw(rng, (draws, size, COORDINATES)).astype(np.float32)
        for rule, some in updates.items():
            units = some / np.linalg.norm(some, axis=1, keepdims=True)
            values = (fresh[: len(some)] @ units[:, :, None].astype(np.float32))[:, :, 0]
            about = {"population": population.name, "rule": rule}
            rows += [about | _row(values, size)] if len(some) else []
    return rows


def _selected(rule: str, population: Population, draws: int) -> np.ndarray:
    """``(draws, coordinates)``: what it lets pass of updates of which it lets anything pass."""
    rng = generator(population.name, "choosing", rule)
    found = np.zeros((0, COORDINATES))
    for number in range(_ROUNDS):
        seen = population.draw(rng, (draws, CHOOSING, COORDINATES))
        seen -= _CHOOSING_SHIFT / np.sqrt(CHOOSING)
        seeds = jnp.arange(draws) + draws * number
        some = np.asarray(_choose(rule)(jnp.asarray(seen, jnp.float32), seeds), np.float64)
        found = np.concatenate([found, some[some.any(1)]])
        if len(found) >= draws:
            break
    return found[:draws]


@cache
def _choose(rule: str) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A jitted function of the examples of many updates, ``(draws, B, coordinates)``, and seeds."""

    def choose(examples: jax.Array, seed: jax.Array) -> jax.Array:
        updates = jnp.full(COORDINATES, STEP)
        return select(rule, updates, moments_from_per_example(examples), seed)

    return jax.jit(jax.vmap(choose))
