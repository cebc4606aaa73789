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

_ALPHA = 0.05
# Of size / level, with the targets among them; blue holds the level, orange does not.
_BOUNDS = (0, 0.5, 1, 1.25, 2, 4, 20)
_COLOURS = ("#5a9bd0", "#a9cce6", "#e4eef6", "#fdd9a0", "#f09a3e", "#a8480c")


def write_plot(results: Results, path: Path) -> None:
    """Write the picture; its format follows the suffix."""
    found = Rejections(results)
    rows = {real: found.populations(real) for real in (False, True) if found.populations(real)}
    sizes = {real: found.batch_sizes(real) for real in rows}
    tests = {real: found.tests(real) for real in rows}
    columns, width = max(map(len, sizes.values())), max(map(len, tests.values()))
    heights = [len(names) for names in rows.values()]
    figure, grid = plt.subplots(
        len(rows), columns, figsize=(2.6 + 0.26 * columns * width, 2.4 + 0.22 * sum(heights)),
        squeeze=False, height_ratios=heights, layout="constrained",
    )  # fmt: skip
    norm, colours = BoundaryNorm(_BOUNDS, len(_COLOURS)), ListedColormap(_COLOURS)
    image = None
    for line, (real, names) in zip(grid, rows.items(), strict=True):
        for ax in line[len(sizes[real]) :]:
            ax.axis("off")
        for ax, size in zip(line, sizes[real], strict=False):
            shares = [
                [found.share("size", name, size, test, _ALPHA).value for test in tests[real]]
                for name in names
            ]
            image = _panel(ax, np.array(shares), tests[real], norm, colours)
            ax.set_title(f"B = {size}", fontsize=9)
        line[0].set_yticks(range(len(names)), names, fontsize=7)
    bar = figure.colorbar(
        image, ax=grid, location="bottom", shrink=0.5, aspect=40, spacing="uniform",
        ticks=_BOUNDS, label=f"size / nominal level of {_ALPHA:.0%}; numbers are sizes in percent",
    )  # fmt: skip
    bar.ax.tick_params(labelsize=8)
    bar.set_ticklabels([f"{bound:g}" for bound in _BOUNDS])
    for bound, text, side in ((1.25, "target, B ≥ 256", "right"), (2, "target, B ≥ 64", "left")):
        place = _BOUNDS.index(bound) / (len(_BOUNDS) - 1), 1.2
        bar.ax.axvline(bound, color="black", linewidth=2.5)
        bar.ax.annotate(text, place, xycoords="axes fraction", ha=side, fontsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(ax: Axes, shares: np.ndarray, tests: list[str], norm: BoundaryNorm, colours):
    image = ax.imshow(shares / _ALPHA, norm=norm, cmap=colours, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            dark = share / _ALPHA >= _BOUNDS[-2]
            text = f"{100 * share:.0f}" if share >= 0.0095 else f"{100 * share:.1f}"
            ax.text(
                column, row, text, ha="center", va="center", fontsize=6.5,
                color="white" if dark else "black",
            )  # fmt: skip
    ax.set_xticks(range(len(tests)), tests, rotation=90, fontsize=7)
    ax.set_yticks([])
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    return image
