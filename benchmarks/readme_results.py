"""Write the README's results section from a finished demo.

    feasible-jax demo --dataset fashion_mnist --out demo_fashion
    python benchmarks/readme_results.py demo_fashion

Every figure of that section comes from the run's ``results.json``; the picture is the run's own.
"""

import shutil
import sys
from pathlib import Path

from feasible_jax.report import load_run, markdown_table
from feasible_jax.report.groups import group_rows
from feasible_jax.report.summary import lead

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- results -->", "<!-- end of results -->"
PICTURE = Path("docs/_static/tradeoff.png")


def main(folder: Path) -> None:
    """Replace what stands between the marks by the run's picture and tables."""
    run = load_run(folder)
    (ROOT / PICTURE.parent).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "tradeoff.png", ROOT / PICTURE)
    section = f"""{START}

`{run.command}` on two CPU cores. {lead(group_rows(run.rows))}

![Test accuracy against forget accuracy, plain and with feasible updates]({PICTURE})

{markdown_table(run)}
{END}"""

    readme = ROOT / "README.md"
    before, _, rest = readme.read_text().partition(START)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"README.md has no section between {START} and {END}.")
    readme.write_text(before + section + after)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
