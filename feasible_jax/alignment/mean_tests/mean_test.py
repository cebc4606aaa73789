"""What a test of a mean is: from one number an example to a p-value."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class MeanTest(NamedTuple):
    """A one-sided test of ``E[change] >= 0`` (harm) against ``E[change] < 0``.

    Attributes:
      name: how tables call it.
      p_value: ``(changes, weights, population_size) -> p``, a pure function under ``jit``:
        ``changes`` are ``(B,)``, one number an example; ``weights`` are ``(B,)``, 0 for padding and
        1 elsewhere, or None; ``population_size`` is the size of the population that the examples
        were drawn from without replacement, or None for draws that are independent. The result is a
        scalar in [0, 1], float32 or wider.

        Every test decides alike what has no statistic: where every change is exactly 0, the update
        is neutral on all examples seen, p = 0; where all are equal and below 0, p = 0, and above 0,
        p = 1; anything not finite, or fewer than two examples, p = 1.
        Only a test that knows how bad harm can be, ``betting_test`` or ``gaffke_test(worst=...)``,
        finds no certainty in equal changes below 0.

    >>> import jax.numpy as jnp
    >>> always = MeanTest("always", lambda changes, weights, population_size: jnp.float32(0))
    >>> float(always.p_value(jnp.ones(3), None, None))
    0.0
    """

    name: str
    p_value: Callable[[jax.Array, jax.Array | None, Any], jax.Array]
