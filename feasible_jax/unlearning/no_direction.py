"""Why a run found no feasible direction, in one sentence."""

import numpy as np

from feasible_jax.unlearning.history import History


def no_direction(history: History, patience: int) -> str:
    """The reason why the last ``patience`` updates of a run were all zero.

    It names the constraint that let least pass, and the leaf of which least was kept; where the
    mask left something, the constraint whose certificate failed.

    >>> import numpy as np
    >>> zero = np.zeros(2)
    >>> history = History({}, zero, {"w": zero, "b": zero}, {"retain": zero}, np.ones(2, bool))
    >>> no_direction(history, 2)
    'no feasible direction in 2 steps in a row: retain constraint, leaf w'
    """
    where = _reason(history, slice(-patience, None))
    return f"no feasible direction in {patience} steps in a row: {where}"


def _reason(history: History, last: slice) -> str:
    certificates = history.certificates
    if certificates is not None and np.mean(history.kept[last] > 0) > 0.5:
        p_values = {n: float(np.median(p[last])) for n, p in certificates.p_value.items()}
        name = max(p_values, key=p_values.__getitem__)
        level = float(np.median(certificates.level[last]))
        return (
            f"{name} constraint, whose certificate did not pass (median p {p_values[name]:.2g}, "
            f"level {level:.2g}){_leaf(history, last)}"
        )
    if not history.pass_rate:
        return "the method's own updates were zero"
    rates = {name: float(np.mean(rate[last])) for name, rate in history.pass_rate.items()}
    return f"{min(rates, key=rates.__getitem__)} constraint{_leaf(history, last)}"


def _leaf(history: History, last: slice) -> str:
    kept = {name: float(np.mean(values[last])) for name, values in history.kept_per_leaf.items()}
    least = min(kept, key=kept.__getitem__) if kept else ""
    return f", leaf {least}" if least else ""  # parameters that are one array have no name
