"""All pictures of a run, as files and for the page."""

import base64
from collections.abc import Sequence
from typing import NamedTuple

from feasible_jax.report.alt_texts import kept_alt, losses_alt, tradeoff_alt
from feasible_jax.report.groups import Group
from feasible_jax.report.kept import kept_figure
from feasible_jax.report.losses import losses_figure
from feasible_jax.report.run import Run
from feasible_jax.report.style import png
from feasible_jax.report.tradeoff import tradeoff_figure

FILES = ("tradeoff.png", "kept.png", "losses.png")


class Picture(NamedTuple):
    """A picture.

    Attributes:
      data: the bytes of the PNG file.
      alt: what it shows, in words.

    >>> Picture(b"PNG", "Two models.").uri
    'data:image/png;base64,UE5H'
    """

    data: bytes
    alt: str

    @property
    def uri(self) -> str:
        """The picture as an address, so that a page needs no second file."""
        return "data:image/png;base64," + base64.b64encode(self.data).decode("ascii")


def draw_pictures(run: Run, groups: Sequence[Group]) -> dict[str, Picture]:
    """Draws what there is something to draw for.

    Args:
      run: whose curves to draw.
      groups: its rows, as ``group_rows`` returns them.

    Returns:
      Pictures by file name, some of ``FILES``.

    >>> draw_pictures(Run([], {}, {}, ""), [])
    {}
    """
    kept, histograms = (run.curves.get(name) or [] for name in ("kept", "histograms"))
    drawn = {
        "tradeoff.png": (tradeoff_figure(groups), tradeoff_alt(groups)),
        "kept.png": (kept_figure(kept, groups), kept_alt(kept, groups)),
        "losses.png": (losses_figure(histograms, groups), losses_alt(histograms, groups)),
    }
    return {name: Picture(png(figure), alt) for name, (figure, alt) in drawn.items() if figure}
