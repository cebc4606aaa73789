"""A run on disk: where it stands, so that an interrupted one goes on bit for bit."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.unlearning.checkpoint import (
    OnHost,
    check_storable,
    clear_up,
    load_tree,
    read_about,
    resolve,
    save_tree,
)
from feasible_jax.unlearning.differences import differences
from feasible_jax.unlearning.files import check_writable
from feasible_jax.unlearning.history import merged
from feasible_jax.unlearning.host import is_key, to_host
from feasible_jax.unlearning.placement import mesh_of, on_mesh, whole_on
from feasible_jax.unlearning.processes import first_says
from feasible_jax.unlearning.rewind import Look
from feasible_jax.unlearning.step import LoopState, Record


class Standing(NamedTuple):
    """Where a run stands: all that its next step depends on, and what happened so far.

    Attributes:
      state: parameters, optimizer and evidence state, key, steps taken.
      records: of the steps taken, one stacked record a chunk.
      stop: why the run ended before its last step, None where it goes on or is complete.
      looks: those that it may go back to.
    """

    state: LoopState
    records: tuple[Record, ...] = ()
    stop: str | None = None
    looks: tuple[Look, ...] = ()


class Saved(NamedTuple):
    """What a folder says of its run without its arrays being read.

    Attributes:
      step: number of steps taken.
      steps: number of steps of the whole run.
      stop: why it ended early, or None.
      settings: what the run was begun with.
      records: the dtypes of its records, by name.
      looks: of those that it may go back to, the steps and the errors, as in ``[20, "1/4"]``.

    >>> Saved(step=40, steps=100, stop=None, settings={}, records={}).finished
    False
    """

    step: int
    steps: int
    stop: str | None
    settings: dict[str, Any]
    records: dict[str, Any]
    looks: Sequence[Sequence[Any]] = ()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.step >= self.steps or self.stop is not None


class SavedRun:
    """Writes where a run stands to a folder, and reads it from there.

    All of it is written each time, the looks that a run may go back to included: while it is under
    way, as often the parameters and the optimizer's state as there are looks, and once more.

    Args:
      folder: the checkpoint, replaced each time.
      every: least number of seconds between two checkpoints.
      resume: whether to go on with the run that is there.
      steps: number of steps of the whole run.
      settings: what the run depends on, fit for JSON.

    Raises:
      FileExistsError: if a run is there that is not to be resumed.
      ValueError: if it was begun with other settings, or something else is there.
      OSError: that says what to do, if the folder cannot be written to.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        every: float,
        resume: bool,
        steps: int,
        settings: dict[str, Any],
    ):
        self.folder = resolve(folder)
        self._every, self._steps, self._settings = every, steps, settings
        self._written: Standing | None = None
        self._since = time.monotonic()
        check_writable(self.folder.parent)
        self._found = read_saved(self.folder)
        if self._found is not None:
            self._check_found(self._found, resume)

    def begin(self, fresh: Standing) -> Standing:
        """Where the run stands on disk; else its beginning, which is written there.

        So a disk that is full is found before the first step.

        Raises:
          ValueError: if leaves, shapes or dtypes differ, or what is there is damaged.
          OSError: if the folder cannot be written.
        """
        if self._found is not None:
            clear_up(self.folder)
            self._written = _read(self.folder, self._found, fresh)
            return self._written
        check_storable(_arrays(fresh.state, {}, ()))
        self._write(fresh)
        return fresh

    def keep(self, standing: Standing, now: bool = False) -> None:
        """Write where the run stands, if that is due or asked for, and new."""
        due = first_says(now or time.monotonic() - self._since >= self._every)
        if due and standing is not self._written:
            self._write(standing)

    def _check_found(self, found: Saved, resume: bool) -> None:
        if not resume:
            raise FileExistsError(
                f"{self.folder} holds a run after {found.step} of {found.steps} steps: "
                "resume=True goes on with it; to start anew choose another folder, or delete it."
            )
        differing = differences(found.settings, self._settings)
        if differing:
            raise ValueError(
                f"{self.folder} holds a run that was begun with other settings: "
                f"{'; '.join(differing)}. Go on with the old ones, or choose another folder."
            )

    def _write(self, standing: Standing) -> None:
        step = int(standing.state.step)
        # Of a run that failed at its first step nothing is kept: it fails again when resumed.
        records = merged(standing.records)._asdict() if step else {}
        records = on_mesh(jax.tree.map(jnp.asarray, records), mesh_of(standing.state))
        looks = standing.looks if step else ()
        dtypes = jax.tree.map(lambda leaf: str(leaf.dtype), records)
        stop = standing.stop if step else None
        kept = [(look.step, str(look.error)) for look in looks]
        saved = Saved(step, self._steps, stop, self._settings, dtypes, kept)
        arrays = _arrays(standing.state, records, looks)
        save_tree(self.folder, arrays, {"run": saved._asdict()})
        self._written, self._since = standing, time.monotonic()


def read_saved(folder: str | os.PathLike) -> Saved | None:
    """What a folder says of its run; None where nothing is there.

    Raises:
      ValueError: if something else is there, or it is damaged.
    """
    about = read_about(resolve(folder))
    if about is None:
        return None
    if "run" not in about:
        raise ValueError(f"{folder} holds parameters, not a run: choose another folder.")
    return Saved(**about["run"])


def _read(folder: Path, saved: Saved, fresh: Standing) -> Standing:
    lie = whole_on(mesh_of(fresh.state))
    records = jax.tree.map(
        lambda d: jax.ShapeDtypeStruct((saved.step,), jnp.dtype(d), sharding=lie), saved.records
    )
    begun = to_host((fresh.state.params, fresh.state.opt_state)) if saved.looks else ()
    looks = [Look(step, Fraction(error), *begun) for step, error in saved.looks]
    found = load_tree(folder, jax.tree.map(_abstract, _arrays(fresh.state, records, looks)))
    state = _filled(fresh.state, "state", found)
    if not saved.step:
        return Standing(state)
    looks = tuple(
        look._replace(**_filled(_states_of(look), f"looks/{look.step}", found)) for look in looks
    )
    records = Record(**_filled(records, "records", found))
    return Standing(state, (records,), saved.stop, looks)


def _abstract(leaf: Any) -> Any:
    return OnHost(leaf.shape, leaf.dtype) if isinstance(leaf, np.ndarray) else leaf


def _filled(like: Any, prefix: str, found: dict[str, Any]) -> Any:
    """A tree with its leaves taken by name; what was too empty to be stored stays."""
    leaves = [
        jax.random.wrap_key_data(found[name], impl=jax.random.key_impl(leaf))
        if is_key(leaf)
        else found.get(name, leaf)
        for name, leaf in _named(prefix, like)
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _arrays(state: LoopState, records: Mapping[str, Any], looks: Iterable[Look]) -> dict[str, Any]:
    """All arrays by name: Orbax knows dictionaries, but not the states of every optimizer."""
    leaves = [*_named("state", state), *_named("records", records)]
    for look in looks:
        leaves += _named(f"looks/{look.step}", _states_of(look))
    named = {name: jax.random.key_data(leaf) if is_key(leaf) else leaf for name, leaf in leaves}
    if len(named) < len(leaves):
        names = [name for name, _ in leaves]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two leaves are called {twice!r}: rename a key that holds a slash.")
    return {name: leaf for name, leaf in named.items() if 0 not in leaf.shape}


def _named(prefix: str, tree: Any) -> list[tuple[str, Any]]:
    return [
        (f"{prefix}/{jax.tree_util.keystr(path, simple=True, separator='/')}", leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def _states_of(look: Look) -> dict[str, Any]:
    return {"params": look.params, "opt_state": look.opt_state}
