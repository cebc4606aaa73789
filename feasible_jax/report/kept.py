"""The kept-fraction picture: which layers were allowed to move, and when."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from feasible_jax.report.groups import Group, find
from feasible_jax.report.style import drawing
from feasible_jax.report.wording import scenario_title, shortened

_POINTS = 80
_LEGEND_ENTRIES = 12


def kept_figure(entries: Sequence[Mapping[str, Any]], groups: Sequence[Group]) -> Figure | None:
    """The kept fraction of every layer over the steps, in percent: a row a method and arm.

    Args:
      entries: ``Run.curves["kept"]``; only those of feasible arms are drawn.
      groups: as ``group_rows`` returns them.

    Returns:
      A figure, a column a scenario; None where there is nothing to draw.

    >>> entry = dict(scenario="random", method="NegGrad+", arm="feasible", steps=[1, 2],
    ...              layers={"dense/kernel": [0.5, 0.25]})
    >>> figure = kept_figure([entry], [Group("random", "NegGrad+", "feasible", True, ())])
    >>> figure.axes[0].lines[0].get_ydata().tolist()
    [50.0, 25.0]
    """
    drawn = [entry for entry in entries if _is_feasible(entry, groups) and entry["layers"]]
    if not drawn:
        return None
    with drawing():
        return _figure(drawn)


def averaged(values: Sequence[float], points: int = _POINTS) -> np.ndarray:
    """The means over windows of equal length, so that a long noisy curve can be read.

    Args:
      values: ``(T,)``.
      points: at most so many windows.

    Returns:
      ``(points,)`` or fewer; the last window may be shorter than the others.

    >>> averaged([0.0, 1.0, 2.0, 3.0, 8.0], points=3).tolist()
    [0.5, 2.5, 8.0]
    """
    array = np.asarray([np.nan if v is None else v for v in values], np.float64)
    length = max(1, -(-len(array) // points))
    return np.array([array[i : i + length].mean() for i in range(0, len(array), length)])


def layer_colours(layers: Sequence[str]) -> dict[str, str]:
    """A colour for every module, dark at the first and light at the last.

    >>> list(layer_colours(["conv/bias", "conv/kernel", "dense/kernel"]))
    ['conv', 'dense']
    """
    modules = list(dict.fromkeys(map(_module, layers)))
    places = np.linspace(0.0, 0.85, len(modules)) if len(modules) > 1 else [0.3]
    ramp = matplotlib.colormaps["viridis"]
    return {module: to_hex(ramp(place)) for module, place in zip(modules, places, strict=True)}


def _figure(entries: Sequence[Mapping[str, Any]]) -> Figure:
    lines = list(dict.fromkeys((entry["method"], entry["arm"]) for entry in entries))
    scenarios = list(dict.fromkeys(entry["scenario"] for entry in entries))
    colours = layer_colours([layer for entry in entries for layer in entry["layers"]])
    handles = _legend(entries, colours)
    height = (1.55 if len(lines) <= 6 else 1.2) * len(lines) + 0.9 + 0.24 * -(-len(handles) // 4)
    figure = Figure((8.0, height), layout="constrained")
    grid = figure.subplots(len(lines), len(scenarios), squeeze=False, sharey=True)
    for axes in grid.flat:
        axes.set_axis_off()
    several_arms = len({arm for _, arm in lines}) > 1
    for entry in entries:
        row = lines.index((entry["method"], entry["arm"]))
        name = f"{entry['method']}, {entry['arm']}" if several_arms else entry["method"]
        axes = grid[row, scenarios.index(entry["scenario"])]
        _draw(axes, shortened(name, 106 // len(scenarios)), entry, colours)
    for column, scenario in enumerate(scenarios):
        lowest = [axes for axes in grid[:, column] if axes.axison][-1]
        lowest.set_xlabel("Step")
        lowest.tick_params(labelbottom=True)
        first, head = grid[0, column], shortened(scenario_title(scenario), 90 // len(scenarios))
        first.annotate(head, (0.5, 1.0), (0, 21), "axes fraction", "offset points", **_HEAD)
    figure.supylabel("Coordinates kept (%)", fontsize=10)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    return figure


_HEAD: dict[str, Any] = {"ha": "center", "va": "bottom", "weight": "bold", "fontsize": 10.5}


def _draw(axes: Axes, title: str, entry: Mapping[str, Any], colours: Mapping[str, str]) -> None:
    axes.set_axis_on()
    axes.set_title(title, fontsize=9.0, weight="normal")
    axes.set(ylim=(-4, 104), yticks=(0, 50, 100))
    axes.tick_params(labelbottom=False)
    steps = averaged(entry["steps"])
    for layer, values in entry["layers"].items():
        style = {"color": colours[_module(layer)], "ls": _line_style(layer)}
        axes.plot(steps, 100 * averaged(values), lw=1.3, **style)


def _legend(entries: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> list[Line2D]:
    layers = list(dict.fromkeys(layer for entry in entries for layer in entry["layers"]))
    count = min(len(layers), _LEGEND_ENTRIES)
    chosen = [layers[round(i)] for i in np.linspace(0, len(layers) - 1, count)]
    return [
        Line2D([], [], color=colours[_module(x)], ls=_line_style(x), lw=1.6, label=f" {x}")
        for x in chosen
    ]


def _module(layer: str) -> str:
    return layer.rpartition("/")[0] or layer


def _line_style(layer: str):
    # Biases and scales have few coordinates, so theirs are the jumpy lines.
    return (0, (3, 1.5)) if layer.endswith(("bias", "scale")) else "-"


def _is_feasible(entry: Mapping[str, Any], groups: Sequence[Group]) -> bool:
    keys = ("scenario", "method", "arm")
    group = find(groups, **{key: entry[key] for key in keys})
    return group is not None and group.feasible
