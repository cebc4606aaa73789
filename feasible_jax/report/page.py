"""The page: one HTML file that needs no other, no network and no script."""

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from feasible_jax.evaluation import YARDSTICKS, Yardstick
from feasible_jax.report.groups import Group, by_scenario, group_rows
from feasible_jax.report.pictures import FILES, Picture, draw_pictures
from feasible_jax.report.run import Run
from feasible_jax.report.settings import settings_of
from feasible_jax.report.storage import plain
from feasible_jax.report.style import method_colours
from feasible_jax.report.summary import lead, summarise
from feasible_jax.report.table import build_table, columns_of
from feasible_jax.report.wording import joined
from feasible_jax.unlearning.files import write_atomically


def write_page(run: Run, folder: str | Path) -> Path:
    """Writes ``index.html`` and the picture files.

    Args:
      run: what to show.
      folder: made where it does not exist.

    Returns:
      The path of ``index.html``, which holds the pictures too.

    Raises:
      ValueError: if the rows are not as ``Run`` says.
      OSError: if a file cannot be written. A page that was there before then still stands.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_page(Run([], {}, {}, "feasible-jax demo"), folder).name
    'index.html'
    """
    groups = group_rows(run.rows)
    pictures = draw_pictures(run, groups)
    html = render_page(run, groups, pictures)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if name in pictures:
            write_atomically(folder / name, pictures[name].data)
        else:
            (folder / name).unlink(missing_ok=True)
    write_atomically(folder / "index.html", html.encode())
    return folder / "index.html"


def render_page(run: Run, groups: Sequence[Group], pictures: Mapping[str, Picture]) -> str:
    """The page as text; everything from the run is escaped.

    >>> render_page(Run([], {}, {}, ""), [], {})[:15]
    '<!doctype html>'
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_package_file("page.html.j2"))
    scenarios = by_scenario(groups)
    return template.render(
        style=Markup(_package_file("page.css")),
        title=_title(run.rows),
        lead=lead(groups),
        summaries=summarise(groups),
        pictures={name.removesuffix(".png"): picture for name, picture in pictures.items()},
        colours=method_colours(groups),
        tables=[build_table(members) for members in scenarios.values()],
        yardsticks=_shown_yardsticks(groups),
        settings=settings_of(run.config),
        command=run.command,
        config=json.dumps(plain(run.config), indent=2, ensure_ascii=False),
    )


def _title(rows: Sequence[Mapping[str, Any]]) -> str:
    title = "Machine unlearning"
    for key, word in (("dataset", "on"), ("model", "with")):
        names = [str(name) for name in dict.fromkeys(row.get(key) for row in rows) if name]
        title += f" {word} {joined(names)}" if names else ""
    return title


def _shown_yardsticks(groups: Sequence[Group]) -> list[Yardstick]:
    metrics = {c.metric for members in by_scenario(groups).values() for c in columns_of(members)}
    # No column of its own, but a part of Avg. Gap.
    metrics |= {"unlearning_accuracy"} if metrics else set()
    return [yardstick for yardstick in YARDSTICKS if yardstick.name in metrics]


def _package_file(name: str) -> str:
    return resources.files("feasible_jax.report").joinpath(name).read_text(encoding="utf-8")
