"""SCRUB+R: SCRUB, and then back to where the forget set was no harder than unseen examples."""

from collections.abc import Callable
from typing import Any

import jax

from feasible_jax.methods.labels import inputs_of_pair
from feasible_jax.methods.method import Method
from feasible_jax.methods.scrub import scrub


def scrub_r(
    alpha: float = 0.5,
    gamma: float = 1.0,
    temperature: float = 2.0,
    min_steps: int = 4,
    max_steps: int = 1,
    max_until: float = 0.5,
    inputs_of: Callable[[Any], jax.Array] = inputs_of_pair,
) -> Method:
    """SCRUB whose run goes back to the look at which the forget error was as high as it should be.

    SCRUB+R of Kurmanji et al. (NeurIPS 2023). An error on the forget set that is higher than on
    examples never seen gives away what was forgotten. So the model to keep is, of those after each
    chunk of steps ``t``::

        argmin_t  | error(model_t, forget) - error(model_T, held out) |

    with ``model_T`` that at the end of the run, and held-out examples distributed like the forget
    set: of that class only where a class is forgotten. Of several that are equally near it is the
    latest. Every step is that of ``scrub``.

    ``unlearn`` takes the held-out examples as ``rewind_to=(inputs, labels)``; it may be given the
    error wanted itself. Looks are one a chunk, where those of the original are one an epoch.

    Args:
      alpha: see ``scrub``, as are all others.
      gamma: likewise.
      temperature: likewise.
      min_steps: likewise.
      max_steps: likewise.
      max_until: likewise.
      inputs_of: likewise.

    Returns:
      A ``Method`` that ``rewinds``.

    Raises:
      ValueError: if a number lies outside its range.

    >>> scrub_r().name, scrub_r().rewinds
    ('SCRUB+R', True)
    """
    method = scrub(alpha, gamma, temperature, min_steps, max_steps, max_until, inputs_of)
    return method._replace(name="SCRUB+R", rewinds=True)
