"""Size and power on the changes that real updates make to a real retain set."""

from typing import Any

import calibration_tests
import jax
import numpy as np
import scipy.stats
from calibration_missed import missed
from calibration_proposals import proposals
from calibration_task import Setting, load_task, run_points
from calibration_truth import changes
from jax.flatten_util import ravel_pytree

RULES = {"no mask": "unmasked", "coordinatewise": "masked"}


def cells(
    setting: Setting,
    scenario: str,
    base: str,
    batch_sizes: tuple[int, ...],
    draws: int,
    bootstrap_draws: int,
) -> list[dict[str, Any]]:
    """A row for each point, mask, kind of change, batch size and test."""
    task = load_task(setting, scenario)
    propose = proposals(setting, scenario, base, tuple(RULES))
    rows = []
    for step, params in run_points(setting, scenario, base).items():
        unravel = ravel_pytree(params)[1]
        updates, _ = propose(params, jax.random.key(step))
        for mask, flat in zip(RULES.values(), updates, strict=True):
            for kind in ("loss", "direction"):
                found = changes(task, params, unravel(flat), first_order=kind == "direction")
                about = {"scenario": scenario, "base": base, "step": step, "mask": mask}
                about |= {"change": kind, "mean": found.mean(), "sd": found.std()}
                about = {name: _rounded(value) for name, value in about.items()}
                if not found.std() > 0:  # nothing passed the mask
                    continue
                about["skewness"] = _rounded(scipy.stats.skew(found))
                rows += [about | row for row in _tested(found, batch_sizes, draws, bootstrap_draws)]
    return rows


def _tested(
    found: np.ndarray, batch_sizes: tuple[int, ...], draws: int, bootstrap_draws: int
) -> list[dict[str, Any]]:
    standard = (found - found.mean()) / found.std()
    rows, worst = [], float(standard.max())
    for size in batch_sizes:
        rng = np.random.default_rng(size)

        def draw(count: int, size: int = size, rng: np.random.Generator = rng) -> np.ndarray:
            return standard[rng.integers(0, len(standard), (count, size))]

        unseen = {"missed": _rounded(missed(standard, size))}
        tested = calibration_tests.cells(draw, size, worst, draws, bootstrap_draws)
        rows += [row | unseen for row in tested]
    return rows


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
