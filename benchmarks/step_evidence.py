"""Random updates, parameters and evidence of any size."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import feasible_jax as fj

SETS = ("retain", "forget")
_COLUMNS = 1000


class Proposed(NamedTuple):
    """What a transformation is handed at a step.

    Attributes:
      updates: proposed by the optimizer.
      params: the parameters.
      evidence: of each set, by its name.
    """

    updates: Any
    params: Any
    evidence: dict[str, fj.GradientMoments]


def propose(parameters: int, batch_size: int = 64) -> Proposed:
    """Random float32 values in four matrices of ``parameters`` numbers together.

    Means are about one standard error in size, so that the tests pass and fail.

    Args:
      parameters: a multiple of 8000.
      batch_size: what the evidence says that it was taken from.
    """
    error = batch_size**-0.5
    evidence = {
        name: fj.GradientMoments(
            _tree(parameters, 2 + i, scale=error),
            _tree(parameters, 4 + i, jax.random.uniform),
            jnp.float32(batch_size),
        )
        for i, name in enumerate(SETS)
    }
    return Proposed(_tree(parameters, 0, scale=0.01), _tree(parameters, 1), evidence)


def _tree(parameters: int, number: int, draw=jax.random.normal, scale: float = 1.0):
    keys = jax.random.split(jax.random.fold_in(jax.random.key(0), number), 4)
    shapes = shapes_of(parameters).items()
    return {n: scale * draw(key, s) for (n, s), key in zip(shapes, keys, strict=True)}


def propose_per_example(parameters: int, batch_size: int) -> dict[str, Any]:
    """The same as gradients of ``batch_size`` examples, for rules that need those."""

    def stacks(number: int):
        return {
            name: jax.random.normal(jax.random.key(10 * number + i), (batch_size, *shape))
            for i, (name, shape) in enumerate(shapes_of(parameters).items())
        }

    return jax.jit(lambda: {name: stacks(i) for i, name in enumerate(SETS)})()


def shapes_of(parameters: int) -> dict[str, tuple[int, int]]:
    """Matrices of a half, a quarter and twice an eighth of the parameters."""
    rows, rest = divmod(parameters, 8 * _COLUMNS)
    if rest or not rows:
        raise ValueError(f"parameters={parameters}: give a multiple of {8 * _COLUMNS}.")
    return {
        name: (share * rows, _COLUMNS) for name, share in zip("abcd", (4, 2, 1, 1), strict=True)
    }
