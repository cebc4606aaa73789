"""The pictures of the headline: paired gains, and the fronts of every method."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from feasible_jax.report.headline.gains import Gain, over_configurations
from feasible_jax.report.style import GREY, INK, drawing
from feasible_jax.report.wording import scenario_title

# Okabe and Ito's palette; the plain form is ink, controls are thin.
_COLOURS = {
    "plain": INK,
    "random mask": "#8c959f",
    "sign mask": "#e69f00",
    "feasible": "#0072b2",
    "feasible, curvature": "#009e73",
    "certified": "#d55e00",
}
_OTHERS = ("#b5599a", "#56b4e9", "#332288", "#882255")
_PANELS_A_ROW = 4
_SHAPES = "o^sD"


def gains_figure(forgotten: Sequence[Gain]) -> Figure | None:
    """Every configuration's gains as dots, a row a method, a panel a scenario; means as bars.

    Of several datasets and models each has its own shape.

    Args:
      forgotten: gains of unlearning accuracy at equal utility.

    Returns:
      A figure; None where there are no gains.

    >>> gains_figure([]) is None
    True
    """
    if not forgotten:
        return None
    scenarios = list(dict.fromkeys(gain.scenario for gain in forgotten))
    methods = list(dict.fromkeys(gain.method for gain in forgotten))
    arms = list(dict.fromkeys(gain.arm for gain in forgotten))
    data = list(dict.fromkeys((gain.dataset, gain.model) for gain in forgotten))
    shapes = {where: _SHAPES[i % len(_SHAPES)] for i, where in enumerate(data)}
    with drawing():
        figure = Figure((9.0, 1.4 + 0.42 * len(methods)), layout="constrained")
        panels = figure.subplots(1, len(scenarios), sharey=True, squeeze=False)[0]
        for panel, scenario in zip(panels, scenarios, strict=True):
            panel.axvline(0, color=GREY, linewidth=1)
            for gain in forgotten:
                if gain.scenario == scenario:
                    shape = shapes[gain.dataset, gain.model]
                    _dots(panel, gain, methods.index(gain.method), arms, shape)
            panel.set_title(scenario_title(scenario))
            panel.set_xlabel("UA gained (points)")
            panel.set_yticks(range(len(methods)), methods)
            panel.set_ylim(len(methods) - 0.4, -0.6)
            panel.tick_params(axis="y", length=0)
        for arm in arms:
            panels[0].plot([], [], "o", color=arm_colour(arm, arms), label=arm)
        for where, shape in shapes.items() if len(data) > 1 else ():
            panels[0].plot([], [], shape, color=GREY, label=", ".join(where))
        figure.legend(loc="outside lower center", ncols=min(len(arms), 5))
    return figure


def _dots(panel, gain: Gain, row: int, arms: list[str], shape: str) -> None:
    place = row + 0.6 * ((arms.index(gain.arm) + 0.5) / len(arms) - 0.5)
    colour = arm_colour(gain.arm, arms)
    values = list(gain.by_seed.values())
    panel.plot(values, [place] * len(values), shape, color=colour, markersize=3, alpha=0.4)
    interval = over_configurations([gain])
    if interval is not None:
        panel.plot(interval.mean, place, "|", color=colour, markersize=9, markeredgewidth=2)


def fronts_figure(fronts: Sequence[dict[str, Any]]) -> Figure | None:
    """What each arm could have had: the Pareto front of all its looks, a panel a method.

    Args:
      fronts: of one dataset, model and scenario, see ``experiments.outcome.front_of``.

    Returns:
      A figure; None where there are no fronts.

    >>> fronts_figure([]) is None
    True
    """
    if not fronts:
        return None
    methods = list(dict.fromkeys(front["method"] for front in fronts))
    arms = list(dict.fromkeys(front["arm"] for front in fronts))
    columns = min(_PANELS_A_ROW, len(methods))
    rows = math.ceil(len(methods) / columns)
    with drawing():
        figure = Figure((9.0, 0.7 + 1.9 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for panel in panels.flat[len(methods) :]:
            panel.set_axis_off()
        for panel, method in zip(panels.flat, methods, strict=False):
            panel.set_title(method, fontsize=9)
            for front in fronts:
                if front["method"] == method:
                    _front(panel, front, arms)
        best = max(max(front["remaining"], default=0) for front in fronts)
        panels[0, 0].set_ylim(max(0, best - 25), best + 1.5)
        for panel in panels.flat[
            len(methods) - columns : len(methods)
        ]:  # the lowest of each column
            panel.set_xlabel("UA (%)")
            panel.tick_params(labelbottom=True)
        for panel in panels[:, 0]:
            panel.set_ylabel("Validation (%)")
        for arm in arms:
            panels[0, 0].plot([], [], color=arm_colour(arm, arms), label=arm)
        figure.legend(loc="outside lower center", ncols=min(len(arms), 6))
    return figure


def _front(panel, front: dict[str, Any], arms: list[str]) -> None:
    unlearning, remaining = pareto(front["unlearning"], front["remaining"])
    width = 1.6 if front["arm"] not in ("random mask", "sign mask") else 1.0
    colour = arm_colour(front["arm"], arms)
    # With markers, for a front may be a single point.
    panel.step(
        unlearning, remaining, "o-", color=colour, linewidth=width, markersize=2, where="pre"
    )


def pareto(xs: Sequence[float], ys: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The points that no other exceeds in both, by ascending x.

    >>> [part.tolist() for part in pareto([1.0, 2.0, 3.0], [5.0, 1.0, 3.0])]
    [[1.0, 3.0], [5.0, 3.0]]
    """
    order = np.lexsort((ys, xs))[::-1]
    kept, most = [], -np.inf
    for i in order:
        if ys[i] > most:
            kept.append(i)
            most = ys[i]
    kept = np.array(kept[::-1], int)
    return np.asarray(xs, float)[kept], np.asarray(ys, float)[kept]


def arm_colour(arm: str, arms: Sequence[str]) -> str:
    """The colour of an arm, the same in every picture.

    >>> arm_colour("plain", ["plain"]) == INK
    True
    """
    if arm in _COLOURS:
        return _COLOURS[arm]
    others = [name for name in arms if name not in _COLOURS]
    return _OTHERS[others.index(arm) % len(_OTHERS)]


def fronts_title(front: dict[str, Any]) -> str:
    """Whose front it is, in words."""
    scenario = scenario_title(front["scenario"])
    return f"{front['dataset']}, {front['model']}: {scenario[0].lower()}{scenario[1:]}"
