"""The results of the calibration benchmark on disk, part by part."""

import datetime
import json
from pathlib import Path
from typing import Any

from moments_results import machine

Results = dict[str, Any]


def start(path: Path, resume: bool, settings: dict[str, Any]) -> Results:
    """Empty results, or those of an interrupted run with the same settings."""
    about = {name: value for name, value in machine().items() if name != "threads"}
    fresh = {"machine": about, "date": datetime.date.today().isoformat(), "settings": settings}
    fresh |= {"seconds": {}, "parts": {}}
    if not path.exists():
        return fresh
    if not resume:
        raise SystemExit(f"{path} exists: continue it with --resume, or give another --out.")
    found = read(path)
    settings = json.loads(json.dumps(settings))
    # An arm more is a part more, and changes none of the others.
    found["settings"] |= {"arms": settings["arms"]}
    if found["settings"] != settings:
        raise SystemExit(
            f"{path} cannot be resumed: its settings are {found['settings']}, but here they are "
            f"{settings}. Give another --out."
        )
    return found


def read(path: Path) -> Results:
    """Results that `write` wrote."""
    return json.loads(path.read_text())


def write(results: Results, path: Path) -> None:
    """A row a line, written aside and renamed: an interrupted run leaves the file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in results.items() if k != "parts"]
    parts = [
        f"  {json.dumps(name)}: [\n" + ",\n".join(f"   {_dense(row)}" for row in rows) + "\n  ]"
        for name, rows in results["parts"].items()
    ]
    text = "{\n" + ",\n".join([*head, ' "parts": {\n' + ",\n".join(parts) + "\n }"]) + "\n}\n"
    aside = path.with_name(path.name + ".part")
    aside.write_text(text)
    aside.replace(path)


def _dense(row: dict[str, Any]) -> str:
    return json.dumps(row, separators=(",", ":"))


def rows_of(results: Results, kind: str) -> list[dict[str, Any]]:
    """The rows of all parts of one kind, ``"synthetic"``, ``"real"``, ``"rules"`` or ``"runs"``."""
    return [
        row for name, rows in results["parts"].items() if name.split("/")[0] == kind for row in rows
    ]
