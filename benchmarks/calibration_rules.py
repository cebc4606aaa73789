"""How often the updates that selection rules let pass do harm, with and without a certificate."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from calibration_proposals import CONFIDENCE, proposals
from calibration_task import Point, Setting, load_task
from calibration_truth import gradient, losses
from jax.flatten_util import ravel_pytree

import feasible_jax as fj
from feasible_jax.unlearning.batches import draw_batch

# Examples of a certifying batch.
CERTIFYING = 256

# By name: the kind of change, the number of halvings, and whether the batch is the one that chose.
CERTIFICATES = {
    "loss, the batch that chose": ("loss", 0, True),
    "loss": ("loss", 0, False),
    "loss, 3 halvings": ("loss", 3, False),
    "direction": ("direction", 0, False),
}


def cells(
    point: Point, rules: tuple[str, ...], draws: int, loss_draws: int
) -> list[dict[str, Any]]:
    """A row for each rule and certificate, at one point of a run.

    Args:
      point: of a run.
      rules: by name.
      draws: of batches.
      loss_draws: for how many of them the true change of the loss is taken of the updates without a
        certificate; of those that pass one, it always is.

    Returns:
      ``applied``: updates that were not zero; ``slope_up``: how many of them have
      ``<grad R, update> > 0`` on the whole retain set; ``loss_known`` and ``loss_up``: of how many
      the change of the whole retain loss is known, and how many raise it; ``rise``: the sum of
      those rises.
    """
    task, params, about = point.task, point.params, point.about()
    retain, unravel = jax.tree.map(jnp.asarray, task.retain), ravel_pytree(params)[1]
    slope = np.asarray(ravel_pytree(gradient(task, params))[0], np.float64)
    before = losses(task, params)
    propose = proposals(*point[:3], rules)
    certify = {name: _certify(*point[:2], *how[:2]) for name, how in CERTIFICATES.items()}
    rows = {
        (rule, name): about | {"rule": rule, "certificate": name, "draws": 0} | _NOTHING
        for rule in rules
        for name in ("none", *CERTIFICATES)
    }
    for number in range(draws):
        propose_key, certify_key = jax.random.split(
            jax.random.fold_in(jax.random.key(point.step), number)
        )
        updates, chosen_on = propose(params, propose_key)
        fresh = draw_batch(certify_key, retain, CERTIFYING)
        for rule, flat in zip(rules, updates, strict=True):
            up = bool(np.asarray(flat, np.float64) @ slope > 0)
            scales = {"none": float(jnp.any(flat != 0))}
            for name, (_, _, same) in CERTIFICATES.items():
                scales[name] = float(certify[name](params, flat, chosen_on if same else fresh))
            rises: dict[float, float] = {}
            for name, scale in scales.items():
                row = rows[rule, name]
                row["draws"] += 1
                if scale == 0:
                    continue
                row["applied"] += 1
                row["slope_up"] += up
                if name == "none" and number >= loss_draws:
                    continue
                if scale not in rises:
                    moved = jax.tree.map(jnp.add, params, unravel(scale * flat))
                    rises[scale] = float((losses(task, moved) - before).mean())
                row["loss_known"] += 1
                row["loss_up"] += int(rises[scale] > 0)
                row["rise"] += max(rises[scale], 0.0)
    for row in rows.values():
        row["rise"] = float(f"{row['rise']:.4g}")
    return list(rows.values())


_NOTHING = {"applied": 0, "slope_up": 0, "loss_known": 0, "loss_up": 0, "rise": 0.0}


@cache
def _certify(setting: Setting, scenario: str, change: str, backtrack: int) -> Callable:
    """A jitted ``(params, flat updates, batch) -> scale``, 0 where the certificate did not pass."""
    task = load_task(setting, scenario)
    make = fj.loss_change if change == "loss" else fj.directional_derivatives
    tx = fj.certify_updates(
        decrease=("retain",), confidence=CONFIDENCE, change=change, backtrack=backtrack
    )

    def certify(params: Any, flat: jax.Array, batch: Any) -> jax.Array:
        updates = ravel_pytree(params)[1](flat)
        evidence = make(task.loss_fn, batch)
        _, state = tx.update(updates, tx.init(params), params, retain_change=evidence)
        return state.scale

    return jax.jit(certify)
