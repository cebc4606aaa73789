"""The results of the moments benchmark on disk, and the machine they hold for."""

import datetime
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "backpack-for-pytorch")


def machine() -> dict[str, Any]:
    """What a time depends on besides the code."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": {"jax": len(os.sched_getaffinity(0)), "torch": len(os.sched_getaffinity(0))},
        "memory_gib": round(physical_bytes() / 2**30, 1),
        "accelerator": None if jax.default_backend() == "cpu" else jax.devices()[0].device_kind,
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def physical_bytes() -> int:
    """The memory of the machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def start(path: Path, resume: bool, smoke: bool) -> dict[str, Any]:
    """Empty results, or those of an interrupted run of the same kind on the same machine."""
    fresh = {
        "machine": machine(),
        "smoke": smoke,
        "date": datetime.date.today().isoformat(),
        "load_average": os.getloadavg()[0],
        "rows": [],
    }
    if not path.exists():
        return fresh
    if not resume:
        raise SystemExit(f"{path} exists: continue it with --resume, or give another --out.")
    found = read(path)
    for what in ("machine", "smoke"):
        if found[what] != fresh[what]:
            raise SystemExit(
                f"{path} cannot be resumed: its {what} is {found[what]}, but here it is "
                f"{fresh[what]}. Times of both would not compare; give another --out."
            )
    return found


def read(path: Path) -> dict[str, Any]:
    """Results that `write` wrote."""
    return json.loads(path.read_text())


def write(results: dict[str, Any], path: Path) -> None:
    """Write aside, then rename: an interrupted run leaves the file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(results, indent=1) + "\n")
    aside.replace(path)


def is_done(results: dict[str, Any], model: str, batch_size: int, contenders: set[str]) -> bool:
    """Whether every contender has its row: a cell is timed as a whole or not at all."""
    return contenders <= {
        row["contender"] for row in results["rows"] if _in(row, model, batch_size)
    }


def replace_cell(results: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Put the rows of one cell in place of those it had."""
    model, batch_size = rows[0]["model"], rows[0]["batch_size"]
    others = [row for row in results["rows"] if not _in(row, model, batch_size)]
    results["rows"] = others + rows


def _in(row: dict[str, Any], model: str, batch_size: int) -> bool:
    return row["model"] == model and row["batch_size"] == batch_size


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
