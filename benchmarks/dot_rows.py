"""What panels of labelled rows of dots have in common."""

from collections.abc import Sequence

from matplotlib.axes import Axes


def style_rows(ax: Axes, labels: Sequence[str]) -> None:
    """One row a label, the first on top, with a light grid and no frame."""
    ax.set_yticks(range(len(labels)), labels, fontsize=8)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.tick_params(axis="x", labelsize=8)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
