"""Finished cells on disk, so that an interrupted study goes on where it stopped."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from feasible_jax.unlearning.checkpoint import load_params, save_params
from feasible_jax.unlearning.differences import differences
from feasible_jax.unlearning.files import check_writable, write_atomically, writing

_CONFIG = "config.json"


class Ledger:
    """A folder of finished cells and trained models.

    Args:
      folder: made if it does not exist.
      config: the study's settings; a folder of a study with other settings is refused.

    Raises:
      ValueError: if the folder holds a study with other settings, or a damaged file.
      OSError: that says what to do, if the folder cannot be written to.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ledger = Ledger(Path(folder), {"seeds": 1})
    ...     first = ledger.cell("a", lambda: {"row": 1})
    ...     again = ledger.cell("a", lambda: {"row": 2})
    >>> again
    {'row': 1}
    """

    def __init__(self, folder: Path, config: dict[str, Any]):
        self.folder = Path(folder)
        self._cells = self.folder / "cells"
        check_folder(self.folder, config)
        with writing(self.folder):
            self._cells.mkdir(parents=True, exist_ok=True)
        known = self.folder / _CONFIG
        if not known.exists():
            write_json(known, config)

    def cell(self, name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a cell came to: from disk where it is finished, else by running it."""
        if self.has(name):
            return self.read(name)
        outcome = run()
        self.write(name, outcome)
        return outcome

    def read(self, name: str) -> dict[str, Any]:
        """What a finished cell came to."""
        return read_json(self._cells / f"{name}.json")

    def write(self, name: str, outcome: dict[str, Any]) -> None:
        """Keep what a cell came to."""
        write_json(self._cells / f"{name}.json", outcome)

    def has(self, name: str) -> bool:
        """Whether a cell is finished."""
        return (self._cells / f"{name}.json").exists()

    def has_model(self, name: str) -> bool:
        """Whether a model is trained and saved."""
        return self.has(f"{name}-model")

    def model(
        self, name: str, run: Callable[[], tuple[Any, float | None]], like: Any
    ) -> tuple[Any, float | None]:
        """Trained parameters and their training time: from disk, else by training."""
        path = self.folder / "models" / name
        if self.has_model(name):
            return load_params(path, like), self.read(f"{name}-model")["seconds"]
        params, seconds = run()
        save_params(path, params)
        self.write(f"{name}-model", {"seconds": seconds})
        return params, seconds


def check_folder(folder: Path, config: dict[str, Any]) -> None:
    """Raise unless a folder can hold a run of these settings; it is left as it is.

    Raises:
      ValueError: if it holds a run with other settings, which are named.
      OSError: if it is not there and cannot be made.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_folder(Path(folder) / "new", {"seeds": 1})
    """
    known = Path(folder) / _CONFIG
    if not known.exists():
        check_writable(Path(folder))
        return
    differing = differences(read_json(known), config)
    if differing:
        raise ValueError(
            f"{folder} holds a run with other settings: {'; '.join(differing)}. "
            "Give another --out, or delete it."
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read JSON, or raise a ``ValueError`` that names the file and says what to do."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged, it is no JSON ({error}): delete it, and run the same again."
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON aside, then rename, so that no reader ever sees half a file."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(value, indent=1, allow_nan=False).encode())


def plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON knows it: nested dictionaries and lists.

    >>> from feasible_jax.experiments.config import SearchConfig
    >>> plain(SearchConfig(learning_rates=(0.1,)))["learning_rates"]
    [0.1]
    """
    return json.loads(json.dumps(asdict(config)))
