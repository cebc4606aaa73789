"""The sizes of rules and of their certificates as a picture, at every level and batch size."""

from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from calibration_levels import Levels, of_certificates, of_masks
from calibration_plot import ratio_bar, ratio_panel
from calibration_proposals import RULES, WITH_A_LEVEL
from calibration_results import Results
from calibration_tests import ALPHAS


def write_plot(results: Results, path: Path) -> None:
    """Write the picture, if there is anything to see; its format follows the suffix."""
    groups = {
        "Rules by themselves": ("passes", of_masks(results), WITH_A_LEVEL),
        "Tested on fresh examples": ("size", of_certificates(results), tuple(RULES)),
    }
    lines = [
        (about, levels, what, [rule for rule in levels.rules if rule in rules])
        for about, (what, group, rules) in groups.items()
        for levels in group
    ]
    if not lines:
        return
    heights = [0.7 + 0.22 * len(rules) for *_, rules in lines]
    heights[-1] += 0.8  # for the key
    columns = max(len(levels.batch_sizes) for _, levels, *_ in lines)
    figure = plt.figure(figsize=(3 + 1.5 * columns, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(lines), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, (about, levels, what, rules) in zip(parts, lines, strict=True):
        part.suptitle(f"{about}: {levels.title.lower()}", fontsize=9, fontweight="bold")
        axes = part.subplots(1, len(levels.batch_sizes), squeeze=False)[0]
        for ax, size in zip(axes, levels.batch_sizes, strict=True):
            image = ratio_panel(ax, _shares(levels, what, rules, size), np.array(ALPHAS))
            ax.set_xticks(range(len(ALPHAS)), [f"{alpha:.0%}" for alpha in ALPHAS], fontsize=7)
            ax.set_title(f"B = {size}", fontsize=8)
        axes[0].set_yticks(range(len(rules)), rules, fontsize=7)
    ratio_bar(parts[-1], axes, image, "share at the boundary / nominal level; numbers are percent")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _shares(levels: Levels, what: str, rules: list[str], size: int) -> np.ndarray:
    figures = [[levels.figure(what, rule, size, alpha) for alpha in ALPHAS] for rule in rules]
    return np.array([[np.nan if f is None else f.value for f in line] for line in figures])
