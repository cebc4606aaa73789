"""Write the headline's data, its page in the docs and the README's section from a finished suite.

    feasible-jax benchmark --suite headline --out headline
    python benchmarks/headline_results.py headline "What a reader should know of the run."
    python benchmarks/headline_results.py            # from the data that is committed

Every figure comes from the suite's ``results.json``, rounded to six digits.
"""

import datetime
import json
import sys
from pathlib import Path
from typing import Any

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


def main(folder: Path | None, note: str = "") -> None:
    """Write data, page, pictures and section; nothing, if the README has no place for it."""
    before, after = _around_section()
    if folder is not None:
        today = datetime.date.today().isoformat()
        about = {"machine": machine(), "date": today, "note": note}
        found = about | rounded(read_headline(folder)._asdict())
        write_atomically(DATA, (json.dumps(found, separators=(",", ":")) + "\n").encode())
    found = json.loads(DATA.read_text())
    headline = Headline(**{name: found[name] for name in Headline._fields})
    tables = headline_tables(headline.closest, headline.equal_utility)
    pictures = draw_headline(headline)
    STATIC.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        write_atomically(STATIC / f"headline-{picture.file}", picture.data)
    made = f"`{headline.command}`\n\n{_circumstances(found)}"
    text = markdown(headline, tables, pictures, "_static/headline-")
    write_atomically(PAGE, f"# What a mask adds to any method\n\n{made}\n\n{text}".encode())
    section = [
        START, "", lead(headline), "", tables[0].caption, "", *table_lines(tables[0]), "",
        f"![{pictures[0].alt}](docs/_static/headline-{pictures[0].file})", "",
        "All tables, by method, with cost and significance: [docs](docs/headline_benchmark.md).",
        "", END,
    ]  # fmt: skip
    write_atomically(README, (before + "\n".join(section) + after).encode())


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


if __name__ == "__main__":
    if len(sys.argv) > 3:
        raise SystemExit(__doc__)
    given, about = ([*sys.argv[1:], "", ""])[:2]
    main(Path(given) if given else None, about)
