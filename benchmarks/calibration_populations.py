"""Populations whose mean is exactly 0 and whose standard deviation is 1."""

import zlib
from collections.abc import Callable
from math import exp, sqrt
from typing import Any, NamedTuple

import numpy as np

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


class Population(NamedTuple):
    """Changes of the loss, one an example; above 0 is harm.

    Attributes:
      name: in tables.
      draw: ``(rng, shape) -> values`` of mean 0 and standard deviation 1.
      worst: no value exceeds it; None where there is no bound.
    """

    name: str
    draw: Draw
    worst: float | None = None


def generator(*about: Any) -> np.random.Generator:
    """Of its own for each cell: what cells have in common would not average out."""
    return np.random.default_rng(zlib.crc32("/".join(map(str, about)).encode()))


def _lognormal(sigma: float, name: str) -> list[Population]:
    mean, sd = exp(sigma**2 / 2), sqrt((exp(sigma**2) - 1) * exp(sigma**2))
    draw = lambda rng, shape: (np.exp(sigma * rng.standard_normal(shape)) - mean) / sd  # noqa: E731
    return [Population(name, draw), _mirror(name, draw, mean / sd)]


def _pareto(index: float, name: str) -> list[Population]:
    mean, sd = 1 / (index - 1), sqrt(index / ((index - 1) ** 2 * (index - 2)))
    draw = lambda rng, shape: (rng.pareto(index, shape) - mean) / sd  # noqa: E731
    return [Population(name, draw), _mirror(name, draw, mean / sd)]


def _rare(share: float, name: str) -> list[Population]:
    """A share of the examples is harmed alike, all others improve a little; both vary slightly."""
    rest = -share / (1 - share)
    sizes, widths = (1.0, rest), (0.01, 0.05)
    spread = [size**2 * (1 + width**2 / 3) for size, width in zip(sizes, widths, strict=True)]
    sd = sqrt(share * spread[0] + (1 - share) * spread[1])

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        harmed, jitter = rng.random(shape) < share, rng.uniform(-1, 1, shape)
        return np.where(harmed, 1 + widths[0] * jitter, rest * (1 + widths[1] * jitter)) / sd

    worst = (1 + widths[0]) / sd
    return [Population(name, draw, worst), _mirror(name, draw, -rest * (1 + widths[1]) / sd)]


def _mirror(name: str, draw: Draw, worst: float) -> Population:
    return Population(f"{name}, mirrored", lambda rng, shape: -draw(rng, shape), worst)


def _exponential(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_exponential(shape) - 1


_HARMFUL_TAIL_AND_MIRROR = [
    [Population("exponential", _exponential), _mirror("exponential", _exponential, 1.0)],
    _lognormal(1.0, "lognormal 1"),
    _lognormal(1.5, "lognormal 1.5"),
    _pareto(3.0, "Pareto 3"),
    _rare(0.05, "rare harm, 5%"),
    _rare(0.02, "rare harm, 2%"),
]

POPULATIONS = (
    Population("normal", lambda rng, shape: rng.standard_normal(shape)),
    Population("t, 3 degrees", lambda rng, shape: rng.standard_t(3, shape) / sqrt(3)),
    *(pair[0] for pair in _HARMFUL_TAIL_AND_MIRROR),
    *(pair[1] for pair in _HARMFUL_TAIL_AND_MIRROR),
)
