"""The ratios of the moments benchmark as a picture: a panel for each model."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
from dot_rows import style_rows
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

_COLOURS = {"jax": "#1f5fa8", "torch": "#c8641e"}
_NAMES = {"jax": "JAX", "torch": "PyTorch"}
_COLUMNS = 3


def write_plot(results: dict[str, Any], path: Path) -> None:
    """Write the picture; its format follows the suffix."""
    rows = [row for row in results["rows"] if not row["is_baseline"]]
    models = list(dict.fromkeys(row["model"] for row in rows))
    labels = list(dict.fromkeys(row["label"] for row in rows))
    sizes = sorted({row["batch_size"] for row in rows})
    lines = -(-(len(models) + 1) // _COLUMNS)
    size = (10, 0.8 + lines * (0.8 + 0.3 * len(labels)))
    figure, grid = plt.subplots(
        lines, _COLUMNS, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    axes = list(grid.flat)
    for ax, model in zip(axes, models, strict=False):
        _panel(ax, [row for row in rows if row["model"] == model], labels, sizes)
    for ax in axes[len(models) :]:
        ax.axis("off")
    # The panels above an empty place are the lowest of their column.
    for ax in axes[max(0, len(models) - _COLUMNS) : len(models)]:
        ax.tick_params(labelbottom=True)
        ax.set_xlabel("time / plain gradient")
    axes[-1].legend(handles=_handles(rows, sizes), loc="center", frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(ax: Axes, rows: list[dict[str, Any]], labels: list[str], sizes: list[int]) -> None:
    ax.set_title(rows[0]["title"].split(",")[0], fontsize=10, loc="left")
    ax.axvline(1, color="0.4", linewidth=0.8)
    for row in rows:
        y = labels.index(row["label"]) + _offset(row["batch_size"], sizes)
        if row["ratio"] is None:
            ax.text(
                1.06, y, f"not at B = {row['batch_size']}", fontsize=6, color="0.55", va="center"
            )
            continue
        colour = _COLOURS[row["framework"]]
        ax.plot([1, row["ratio"]], [y, y], color=colour, alpha=0.3, linewidth=1)
        ax.plot(row["ratio"], y, "o", markersize=5, **_marker(colour, row["batch_size"], sizes))
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(10, subs=(1, 3)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    style_rows(ax, labels)


def _offset(size: int, sizes: list[int]) -> float:
    return 0.4 * (sizes.index(size) - (len(sizes) - 1) / 2) / max(len(sizes) - 1, 1)


def _marker(colour: str, size: int, sizes: list[int]) -> dict[str, Any]:
    largest = size == sizes[-1]
    return {"markeredgecolor": colour, "markerfacecolor": colour if largest else "white"}


def _handles(rows: list[dict[str, Any]], sizes: list[int]) -> list[Line2D]:
    def dot(label: str, **style: Any) -> Line2D:
        return Line2D([], [], linestyle="none", marker="o", label=label, **style)

    frameworks = dict.fromkeys(row["framework"] for row in rows)
    return [dot(f"B = {size}", **_marker("0.3", size, sizes)) for size in sizes] + [
        dot(_NAMES[name], color=_COLOURS[name]) for name in frameworks
    ]
