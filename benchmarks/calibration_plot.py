"""The sizes of the tests as a picture: a heat map for each batch size."""

from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from calibration_counts import Rejections
from calibration_results import Results
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import FigureBase
from matplotlib.image import AxesImage

_ALPHA = 0.05
# Of size / level, with the targets among them; blue holds the level, orange does not.
_BOUNDS = (0, 0.5, 1, 1.25, 2, 4, 20)
_COLOURS = ("#5a9bd0", "#a9cce6", "#e4eef6", "#fdd9a0", "#f09a3e", "#a8480c")


def write_plot(results: Results, path: Path) -> None:
    """Write the picture, if there is anything to see; its format follows the suffix."""
    found = Rejections(results)
    rows = {real: found.populations(real) for real in (False, True) if found.populations(real)}
    if not rows:
        return
    sizes = {real: found.batch_sizes(real) for real in rows}
    tests = {real: found.tests(real) for real in rows}
    columns, width = max(map(len, sizes.values())), max(map(len, tests.values()))
    heights = [len(names) for names in rows.values()]
    figure, grid = plt.subplots(
        len(rows), columns, figsize=(2.6 + 0.26 * columns * width, 2.4 + 0.22 * sum(heights)),
        squeeze=False, height_ratios=heights, layout="constrained",
    )  # fmt: skip
    for line, (real, names) in zip(grid, rows.items(), strict=True):
        for ax in line[len(sizes[real]) :]:
            ax.axis("off")
        for ax, size in zip(line, sizes[real], strict=False):
            shares = [
                [found.share("size", name, size, test, _ALPHA).value for test in tests[real]]
                for name in names
            ]
            image = ratio_panel(ax, np.array(shares), _ALPHA)
            ax.set_xticks(range(len(tests[real])), tests[real], rotation=90, fontsize=7)
            ax.set_title(f"B = {size}", fontsize=9)
        line[0].set_yticks(range(len(names)), names, fontsize=7)
    label = f"size / nominal level of {_ALPHA:.0%}; numbers are sizes in percent"
    ratio_bar(figure, grid, image, label)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def ratio_bar(figure: FigureBase, grid: np.ndarray, image: AxesImage, label: str) -> None:
    """A key to the colours of `ratio_panel`, below all panels."""
    bar = figure.colorbar(
        image, ax=grid, location="bottom", shrink=0.5, aspect=40, spacing="uniform",
        ticks=_BOUNDS, label=label,
    )  # fmt: skip
    bar.ax.tick_params(labelsize=8)
    bar.set_ticklabels([f"{bound:g}" for bound in _BOUNDS])
    for bound, text, side in ((1.25, "target, B ≥ 256", "right"), (2, "target, B ≥ 64", "left")):
        place = _BOUNDS.index(bound) / (len(_BOUNDS) - 1), 1.2
        bar.ax.axvline(bound, color="black", linewidth=2.5)
        bar.ax.annotate(text, place, xycoords="axes fraction", ha=side, fontsize=8)


def ratio_panel(ax: Axes, shares: np.ndarray, levels: np.ndarray | float) -> AxesImage:
    """Sizes in numbers, and over their nominal levels in colours; NaN is left white."""
    ratios = shares / levels
    norm, colours = BoundaryNorm(_BOUNDS, len(_COLOURS), clip=True), ListedColormap(_COLOURS)
    image = ax.imshow(ratios, norm=norm, cmap=colours, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            dark = ratios[row, column] >= _BOUNDS[-2]
            text = f"{100 * share:.0f}" if share >= 0.0095 else f"{100 * share:.1f}"
            ax.text(
                column, row, text, ha="center", va="center", fontsize=6.5,
                color="white" if dark else "black",
            )  # fmt: skip
    ax.set_yticks([])
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    return image
