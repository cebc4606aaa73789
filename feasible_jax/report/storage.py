"""A run as JSON files in a folder."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from feasible_jax.report.run import Run
from feasible_jax.unlearning.files import write_atomically

_FILES = {"results.json": list, "config.json": dict, "curves.json": dict}
_COMMAND = "command.txt"
_KINDS = {list: "a list", dict: "an object"}


def save_run(run: Run, folder: str | Path) -> None:
    """Writes ``results.json`` (the rows), ``config.json``, ``curves.json`` and ``command.txt``.

    Args:
      run: what to write; numpy arrays become lists, and what JSON cannot say (NaN, infinity) null.
      folder: made where it does not exist.

    Raises:
      TypeError: if something in the run is not fit for JSON.
      OSError: if a file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_run(Run([{"tow": float("nan")}], {}, {}, "feasible-jax demo"), folder)
    ...     load_run(folder).rows
    [{'tow': None}]
    """
    folder = Path(folder)
    contents = (run.rows, run.config, run.curves)
    texts = [json.dumps(plain(content), indent=1, allow_nan=False) for content in contents]
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(_FILES, texts, strict=True):
        write_atomically(folder / name, f"{text}\n".encode())
    write_atomically(folder / _COMMAND, f"{run.command}\n".encode())


def load_run(folder: str | Path) -> Run:
    """Reads a run that ``write_report`` or ``save_run`` wrote.

    Args:
      folder: the run directory.

    Returns:
      The run; its command is empty where ``command.txt`` is missing.

    Raises:
      FileNotFoundError: if the folder or a JSON file in it is missing.
      ValueError: if a file is no JSON, or not of the expected kind.

    >>> load_run("/nowhere")
    Traceback (most recent call last):
    FileNotFoundError: /nowhere is no run directory: results.json is missing...
    """
    rows, config, curves = (_read(Path(folder), name) for name in _FILES)
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"row {i} of {Path(folder) / 'results.json'} is no object: {row!r}.")
    command = Path(folder) / _COMMAND
    line = command.read_text(encoding="utf-8").strip() if command.is_file() else ""
    return Run(rows, config, curves, line)


def plain(value: Any) -> Any:
    """The value in types that JSON knows.

    >>> plain({"kept": np.array([0.5, np.inf]), "seeds": (0, np.int64(1))})
    {'kept': [0.5, None], 'seeds': [0, 1]}
    """
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__"):
        value = np.asarray(value).tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _read(folder: Path, name: str) -> Any:
    path, kind = folder / name, _FILES[name]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{folder} is no run directory: {name} is missing. Give one that `feasible-jax demo` "
            "or `feasible-jax unlearn` has written."
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON file ({error}): write the report again.") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path} holds a {type(content).__name__}, not {_KINDS[kind]}.")
    return content
