"""A finished suite becomes a page, pictures, a Markdown text and the rows behind them."""

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from feasible_jax.report.groups import PLAIN, REFERENCES
from feasible_jax.report.headline.gains import (
    arms_of,
    gains,
    is_apart,
    over_configurations,
    set_apart,
)
from feasible_jax.report.headline.pictures import fronts_figure, fronts_title, gains_figure
from feasible_jax.report.headline.tables import headline_tables
from feasible_jax.report.headline.text_table import TextTable
from feasible_jax.report.pictures import Picture
from feasible_jax.report.style import png
from feasible_jax.unlearning.files import write_atomically


class Headline(NamedTuple):
    """What a suite hands to its page.

    Attributes:
      closest: rows of all studies, see ``headline_tables``.
      equal_utility: likewise.
      fronts: of all studies, see ``experiments.outcome.front_of``.
      studies: names of the folders of single studies.
      command: the line that made it; of several suites, a line each.

    >>> Headline([], [], [], [], "feasible-jax benchmark").studies
    []
    """

    closest: list[dict[str, Any]]
    equal_utility: list[dict[str, Any]]
    fronts: list[dict[str, Any]]
    studies: list[str]
    command: str


class Shown(NamedTuple):
    """A picture and what is said about it.

    Attributes:
      file: its name.
      title: its heading.
      caption: how to read it.
      alt: what it shows, in words.
      data: the bytes of the PNG file.

    >>> Shown("a.png", "A", "", "", b"PNG").uri[:15]
    'data:image/png;'
    """

    file: str
    title: str
    caption: str
    alt: str
    data: bytes

    @property
    def uri(self) -> str:
        """The picture as an address, so that a page needs no second file."""
        return Picture(self.data, self.alt).uri


def write_headline(headline: Headline, folder: Path) -> Path:
    """Writes ``results.json``, ``headline.md``, the pictures and ``index.html``.

    Args:
      headline: what to show.
      folder: made where it does not exist. Results come first, so that they are safe should a
        picture fail.

    Returns:
      The path of ``index.html``.

    Raises:
      OSError: if a file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_headline(Headline([], [], [], [], ""), Path(folder)).name
    'index.html'
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = json.dumps(headline._asdict(), indent=1, allow_nan=False)
    write_atomically(folder / "results.json", data.encode())
    tables = headline_tables(headline.closest, headline.equal_utility)
    pictures = draw_headline(headline)
    for picture in pictures:
        write_atomically(folder / picture.file, picture.data)
    write_atomically(folder / "headline.md", markdown(headline, tables, pictures).encode())
    html = _page(headline, tables, pictures)
    write_atomically(folder / "index.html", html.encode())
    return folder / "index.html"


def read_headline(folder: Path) -> Headline:
    """What ``write_headline`` has written.

    Args:
      folder: with its ``results.json``.

    Raises:
      FileNotFoundError: if that is not there.
    """
    return Headline(**json.loads((folder / "results.json").read_text()))


def markdown(
    headline: Headline, tables: Sequence[TextTable], pictures: Sequence[Any], where: str = ""
) -> str:
    """Tables and pictures as Markdown.

    Args:
      headline: for the sentence on top.
      tables: as ``headline_tables`` makes them.
      pictures: with ``file``, ``title``, ``alt`` and ``caption``.
      where: what to put before the names of picture files.
    """
    lines = [lead(headline), ""]
    for table in tables:
        lines += [f"## {table.title}", "", table.caption, ""]
        lines += [*table_lines(table), ""]
    for picture in pictures:
        lines += [f"## {picture.title}", "", f"![{picture.alt}]({where}{picture.file})", ""]
        lines += [picture.caption, ""]
    return "\n".join(lines)


def table_lines(table: TextTable) -> list[str]:
    """The lines of a Markdown table.

    >>> table_lines(TextTable("Cost", "", ("Arm", "Time"), (("plain", "1.0"),)))[2]
    '| plain | 1.0 |'
    """
    rule = _line(("---", *["---:"] * (len(table.head) - 1)))
    return [_line(table.head), rule, *map(_line, table.rows)]


def lead(headline: Headline) -> str:
    """What the suite crossed and what came out, in two sentences.

    >>> lead(Headline([], [], [], [], ""))
    'Nothing has been run.'
    """
    some = gains(headline.equal_utility, "unlearning_accuracy")
    if not some:
        return "Nothing has been run."
    what = _what_ran(headline.equal_utility)
    found = []
    for arm, ours in arms_of(some).items():
        interval = over_configurations(ours)
        if interval is not None and arm != PLAIN:
            half = "" if interval.half_width is None else f" ± {interval.half_width:.1f}"
            found.append(f"{arm} {interval.mean:+.1f}{half}")
    return f"{what}. Points of unlearning accuracy gained at equal utility: {', '.join(found)}."


def _what_ran(rows: Sequence[dict[str, Any]]) -> str:
    """How many methods, scenarios and seeds; data on which as many ran are named together."""
    on: dict[str, list[dict[str, Any]]] = {}
    for row in set_apart(rows):
        if row["method"] not in REFERENCES and not is_apart(row):
            on.setdefault(f"{row['dataset']} with {row['model']}", []).append(row)
    alike: dict[str, list[str]] = {}
    for where, some in on.items():
        counts = [_count(len({row[n] for row in some}), n) for n in ("method", "scenario", "seed")]
        alike.setdefault(", ".join(counts), []).append(where)
    return "; ".join(f"{counts}, on {' and '.join(data)}" for counts, data in alike.items())


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def draw_headline(headline: Headline) -> list[Shown]:
    """The pictures of a suite: paired differences first, then a front a task.

    >>> draw_headline(Headline([], [], [], [], ""))
    []
    """
    shown = []
    figure = gains_figure(gains(headline.equal_utility, "unlearning_accuracy"))
    if figure is not None:
        shown.append(
            Shown(
                "gains.png",
                "Paired differences",
                "Unlearning accuracy gained over the plain form of the same method and seed, at "
                "equal utility: a dot a seed and task, a bar their mean.",
                "Dots of gains for every method and arm; the tables hold the figures.",
                png(figure),
            )
        )
    by_task: dict[tuple, list] = {}
    for front in headline.fronts:
        by_task.setdefault(tuple(front[k] for k in ("dataset", "model", "scenario")), []).append(
            front
        )
    for where, fronts in by_task.items():
        figure = fronts_figure(fronts)
        if figure is not None:
            shown.append(
                Shown(
                    f"fronts-{'-'.join(where).replace(':', '_')}.png",
                    f"Pareto fronts: {fronts_title(fronts[0])}",
                    "Unlearning accuracy against validation accuracy of the classes that remain: "
                    "the looks, of all trials of the first seed, that no other look of the same "
                    "arm beats in both. Further up and to the right is better.",
                    "A front for every method and arm.",
                    png(figure),
                )
            )
    return shown


def _page(headline: Headline, tables: Sequence[TextTable], pictures: Sequence[Shown]) -> str:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    files = resources.files("feasible_jax.report")
    template = environment.from_string(files.joinpath("headline/page.html.j2").read_text("utf-8"))
    return template.render(
        style=Markup(files.joinpath("page.css").read_text("utf-8")),
        title="What a mask adds to any method",
        lead=lead(headline),
        tables=tables,
        pictures=pictures,
        studies=headline.studies,
        command=headline.command,
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
