"""Finished cells on disk, so that an interrupted study goes on where it stopped."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from feasible_jax.unlearning.checkpoint import load_params, save_params


class Ledger:
    """A folder of finished cells and trained models.

    Args:
      folder: made if it does not exist.
      config: the study's settings; a folder of a study with other settings is refused.

    Raises:
      ValueError: if the folder holds a study with other settings.
      OSError: if the folder cannot be written to.

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
        self._cells.mkdir(parents=True, exist_ok=True)
        known = self.folder / "config.json"
        if known.exists() and json.loads(known.read_text()) != config:
            raise ValueError(
                f"{self.folder} holds a run with other settings: give another --out, or delete it."
            )
        write_json(known, config)

    def cell(self, name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a cell came to: from disk where it is finished, else by running it."""
        if self.has(name):
            return self.read(name)
        outcome = run()
        write_json(self._cells / f"{name}.json", outcome)
        return outcome

    def read(self, name: str) -> dict[str, Any]:
        """What a finished cell came to."""
        return json.loads((self._cells / f"{name}.json").read_text())

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
        write_json(self._cells / f"{name}-model.json", {"seconds": seconds})
        return params, seconds


def write_json(path: Path, value: Any) -> None:
    """Write JSON aside, then rename, so that no reader ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(json.dumps(value, indent=1, allow_nan=False))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON knows it: nested dictionaries and lists.

    >>> from feasible_jax.experiments.config import SearchConfig
    >>> plain(SearchConfig(learning_rates=(0.1,)))["learning_rates"]
    [0.1]
    """
    return json.loads(json.dumps(asdict(config)))
