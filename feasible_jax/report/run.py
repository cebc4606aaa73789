"""What a benchmark hands to the report."""

from typing import Any, NamedTuple


class Run(NamedTuple):
    """A finished run, in memory.

    Attributes:
      rows: one dictionary a (scenario, method, arm, seed), with those keys, ``feasible``, and the
        yardsticks of ``evaluation.evaluate`` and ``compare``; a yardstick may be missing or None.
        Optional: ``dataset``, ``model``, ``learning_rate``, ``steps``, ``kept`` (a fraction in
        [0, 1]) and ``note`` (what went wrong, in words).
      config: the settings, fit for JSON.
      curves: ``"kept"``, a list of ``{scenario, method, arm, steps, layers}`` with the kept
        fraction of each layer at each of the steps; and ``"histograms"``, a list of ``{scenario,
        method, arm, edges, forget, test}`` as ``evaluation.loss_histogram`` returns them.
      command: the line that made it.

    >>> Run(rows=[], config={"seeds": [0]}, curves={}, command="feasible-jax demo").config
    {'seeds': [0]}
    """

    rows: list[dict[str, Any]]
    config: dict[str, Any]
    curves: dict[str, Any]
    command: str
