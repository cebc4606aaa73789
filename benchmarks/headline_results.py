"""Write the headline's data, its page in the docs and the README's section from finished suites.

    feasible-jax benchmark --suite headline --out headline
    python benchmarks/headline_results.py --note "What a reader should know of it." headline
    python benchmarks/headline_results.py            # from the data that is committed

Every figure comes from the ``results.json`` of the suites, which ran on different datasets or
models, rounded to six digits.
"""

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro
from moments_results import machine

from feasible_jax.report.headline.tables import headline_tables
from feasible_jax.report.headline.write_headline import (
    Headline,
    draw_headline,
    lead,
    markdown,
    read_headline,
    table_lines,
)
from feasible_jax.unlearning.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "benchmarks" / "results" / "headline.json"
PAGE, STATIC = ROOT / "docs" / "headline_benchmark.md", ROOT / "docs" / "_static"
README = ROOT / "README.md"
START, END = "<!-- headline -->", "<!-- end of headline -->"


def main(folders: Sequence[Path], note: str = "") -> None:
    """Write data, page, pictures and section; nothing, if the README has no place for it."""
    before, after = _around_section()
    if folders:
        today = datetime.date.today().isoformat()
        about = {"machine": machine(), "date": today, "note": note}
        found = about | rounded(joined([read_headline(folder) for folder in folders])._asdict())
        write_atomically(DATA, (json.dumps(found, separators=(",", ":")) + "\n").encode())
    found = json.loads(DATA.read_text())
    headline = Headline(**{name: found[name] for name in Headline._fields})
    tables = headline_tables(headline.closest, headline.equal_utility)
    pictures = draw_headline(headline)
    STATIC.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        write_atomically(STATIC / f"headline-{picture.file}", picture.data)
    commands = "\n".join(f"    {command}" for command in headline.command.splitlines())
    made = f"{commands}\n\n{_circumstances(found)}"
    text = markdown(headline, tables, pictures, "_static/headline-")
    write_atomically(PAGE, f"# What a mask adds to any method\n\n{made}\n\n{text}".encode())
    section = [
        START, "", lead(headline), "", tables[0].caption, "", *table_lines(tables[0]), "",
        f"![{pictures[0].alt}](docs/_static/headline-{pictures[0].file})", "",
        "All tables, by method, with cost and significance: [docs](docs/headline_benchmark.md).",
        "", END,
    ]  # fmt: skip
    write_atomically(README, (before + "\n".join(section) + after).encode())


def joined(suites: Sequence[Headline]) -> Headline:
    """Several suites as one: their rows one after the other, a line each for their commands."""
    names = [name for suite in suites for name in suite.studies]
    if len(set(names)) < len(names):
        raise SystemExit(f"two suites hold the same dataset and model, of {', '.join(names)}.")
    lists = ("closest", "equal_utility", "fronts", "studies")
    rows = {name: [row for suite in suites for row in getattr(suite, name)] for name in lists}
    return Headline(**rows, command="\n".join(suite.command for suite in suites))


def _around_section() -> tuple[str, str]:
    before, _, rest = README.read_text().partition(START)
    _, marked, after = rest.partition(END)
    if not marked:
        raise SystemExit(f"{README.name} has no section between {START} and {END}.")
    return before, after


def _circumstances(found: dict[str, Any]) -> str:
    about = found["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    return (
        f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, {packages}; "
        f"{found['date']}. {found['note']}".strip()
    )


def rounded(value: Any) -> Any:
    """Six digits are more than any figure holds, and half the bytes."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _command_line(folders: tyro.conf.Positional[tuple[Path, ...]] = (), note: str = "") -> None:
    """Write data, page, pictures and section.

    Args:
      folders: of the suites; none to take the data that is committed.
      note: what a reader should know of the runs.
    """
    main(folders, note)


if __name__ == "__main__":
    tyro.cli(_command_line)
