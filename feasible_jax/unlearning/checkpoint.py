"""Parameters on disk, through Orbax: never half-written, never silently other than asked for."""

import hashlib
import json
import logging
import os
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.unlearning.files import sync, writing
from feasible_jax.unlearning.interrupts import uninterrupted
from feasible_jax.unlearning.processes import first_says, on_first_process, summed

_MANIFEST = "manifest.json"  # leaves and checksums, beside Orbax's own folder
_ARRAYS = "arrays"


def save_params(path: str | os.PathLike, params: Any) -> None:
    """Write parameters to a folder, replacing the checkpoint that may be there.

    The new checkpoint is written aside, completely, and renamed into place: an interrupted call
    leaves the old one, or nothing where there was none. Ctrl-C waits for it. One program writes a
    path at a time: all processes of it call this together, and share the file system that it is on.

    Args:
      path: the folder; its parents are made. It may hold a checkpoint, but nothing else.
      params: a tree of arrays. On disk it is ``manifest.json``, with the leaves and the checksums
        of all files, and ``arrays/``, an Orbax checkpoint that Orbax alone can read as well.

    Raises:
      ValueError: if the tree has no leaves, a leaf without elements, or two leaves whose names
        Orbax cannot tell apart.
      FileExistsError: if something other than a checkpoint is at ``path``.
      OSError: that names the folder and says what to do, if it cannot be written or the disk is
        full.

    >>> import tempfile, jax.numpy as jnp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_params(folder + "/params", {"w": jnp.ones(3)})
    ...     load_params(folder + "/params", {"w": jnp.zeros(3)})["w"].tolist()
    [1.0, 1.0, 1.0]
    """
    check_storable(params)
    save_tree(resolve(path), jax.tree.map(jnp.asarray, params), {})


def load_params(path: str | os.PathLike, like: Any) -> Any:
    """Read the parameters that ``save_params`` wrote.

    Args:
      path: the folder.
      like: a tree with the structure, shapes and dtypes expected, of arrays or
        ``jax.ShapeDtypeStruct``; leaves with a sharding of their own are read into it.

    Returns:
      A tree like ``like`` of JAX arrays.

    Raises:
      FileNotFoundError: if nothing is at ``path``.
      ValueError: if no checkpoint is there, or a damaged one, or one whose leaves, shapes or
        dtypes differ from those of ``like``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_params(folder + "/params", {"w": jnp.arange(3.0)})
    ...     load_params(folder + "/params", {"w": jax.ShapeDtypeStruct((3,), jnp.float32)})["w"]
    Array([0., 1., 2.], dtype=float32)
    """
    path = resolve(path)
    if read_about(path) is None:
        raise FileNotFoundError(f"no checkpoint at {path}: nothing is there.")
    return load_tree(path, like)


class OnHost(jax.ShapeDtypeStruct):
    """An array that ``load_tree`` is to read into the memory of the host, as NumPy has them."""


def save_tree(path: Path, tree: Any, about: dict[str, Any]) -> None:
    """Write a tree of arrays, and beside it ``about``, fit for JSON; see ``save_params``.

    NumPy arrays, of dtypes that JAX has, are written without passing through a device.
    """
    new, old = _aside(path, "new"), _aside(path, "old")

    def make_room():
        _clear_up(path)
        path.parent.mkdir(parents=True, exist_ok=True)

    def put_in_place():
        files = _checksums(new / _ARRAYS)
        manifest = {"leaves": dict(_describe(tree)), "files": files, "about": about}
        (new / _MANIFEST).write_text(json.dumps(manifest, indent=1))
        _sync_all(new)
        if path.exists():
            path.rename(old)
        new.rename(path)
        sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)

    with uninterrupted(), writing(path):
        on_first_process(make_room)
        try:
            with _quiet_orbax() as ocp:
                ocp.save(new / _ARRAYS, tree)
            on_first_process(put_in_place)
        except BaseException:
            if jax.process_index() == 0:
                _sweep(new)
            raise


def _sweep(place: Path) -> None:
    """Remove what a failed write left, and what threads that are still at it write after that."""
    for _ in range(10):
        shutil.rmtree(place, ignore_errors=True)
        time.sleep(0.05)
        if not place.exists():
            return


def clear_up(path: Path) -> None:
    """Put right what an interrupted ``save_tree`` left: one checkpoint, and nothing beside it.

    Raises:
      FileExistsError: if something other than a checkpoint is at ``path``.
    """
    first_says(True)  # nobody is still looking at what is renamed now
    on_first_process(lambda: _clear_up(path))


def _clear_up(path: Path) -> None:
    old = _aside(path, "old")
    if not path.exists() and old.exists():
        old.rename(path)  # interrupted between its two renames
    if path.exists() and not (path / _MANIFEST).is_file():
        raise FileExistsError(f"{path} exists and is no checkpoint: choose another path.")
    for left in (old, _aside(path, "new")):
        shutil.rmtree(left, ignore_errors=True)


def read_about(path: Path) -> dict[str, Any] | None:
    """What was written beside a tree; None where nothing is at ``path``."""
    place = _place(path)
    return _read_manifest(place)["about"] if place.exists() else None


def load_tree(path: Path, like: Any) -> Any:
    """Read a tree that ``save_tree`` wrote; see ``load_params``, and ``OnHost``."""
    place = _place(path)
    manifest = _read_manifest(place)
    # Orbax reports damage late, at length and from many threads, and misses some: look first.
    _check_files(place / _ARRAYS, manifest["files"])
    _check_leaves(path, manifest["leaves"], dict(_describe(like)))
    abstract = jax.tree.map(_abstract, like)
    with _quiet_orbax() as ocp:
        tree = ocp.load(place / _ARRAYS, abstract)
    return jax.tree.map(_as_wanted, tree, like)


def _as_wanted(leaf: Any, wanted: Any) -> Any:
    if _is_placed(wanted) or isinstance(wanted, OnHost):
        return leaf
    return jnp.asarray(np.asarray(leaf))


def check_storable(tree: Any) -> None:
    """Raise a ``ValueError`` if Orbax cannot hold a tree of arrays, or would mix leaves up."""
    leaves = _describe(jax.tree.map(jnp.asarray, tree))
    if not leaves:
        raise ValueError("the tree has no leaves: there is nothing to save.")
    seen: dict[str, str] = {}
    for name, (shape, _) in leaves:
        if 0 in shape:
            raise ValueError(f"the leaf {name!r} has shape {tuple(shape)}: nothing to save.")
        stored = name.replace("/", ".")  # Orbax joins keys by dots, and overwrites silently
        if stored in seen:
            raise ValueError(
                f"two leaves, {seen[stored]!r} and {name!r}, would be stored under one name: "
                "rename a key."
            )
        seen[stored] = name


def resolve(path: str | os.PathLike) -> Path:
    """An absolute path, the home folder opened."""
    return Path(path).expanduser().absolute()


def _place(path: Path) -> Path:
    """Where a checkpoint is: an interrupted call may have left it between its two renames."""
    return path if path.exists() else _aside(path, "old")


def _aside(path: Path, role: str) -> Path:
    return path.with_name(f".{path.name}.{role}")


def _describe(tree: Any) -> list[tuple[str, list]]:
    """Name, shape and dtype of every leaf, the dtype as JAX would hold it."""
    return [
        (
            jax.tree_util.keystr(place, simple=True, separator="/"),
            [list(jnp.shape(leaf)), str(jax.dtypes.canonicalize_dtype(leaf.dtype))],
        )
        for place, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def _abstract(leaf: Any) -> Any:
    if isinstance(leaf, OnHost):
        return np.empty(leaf.shape, leaf.dtype)  # which Orbax takes to ask for one
    default = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    sharding = leaf.sharding if _is_placed(leaf) else default
    dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
    return jax.ShapeDtypeStruct(leaf.shape, dtype, sharding=sharding)


def _is_placed(leaf: Any) -> bool:
    """Whether somebody chose where this leaf lives; others stay free to follow their company."""
    return getattr(leaf, "sharding", None) is not None and getattr(leaf, "committed", True)


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {file.relative_to(folder).as_posix(): _checksum(file) for file in files}


def _checksum(file: Path) -> str:
    if not file.is_file():
        return "missing"
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync_all(folder: Path) -> None:
    """A rename may reach the disk before what is renamed does: see to it that it is there."""
    for place in (*folder.rglob("*"), folder):
        sync(place)


def _read_manifest(place: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((place / _MANIFEST).read_text())
        return {name: dict(manifest[name]) for name in ("files", "leaves", "about")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{place} is not a checkpoint, or a damaged one: {_MANIFEST} "
            f"{'is missing' if isinstance(error, OSError) else 'cannot be read'}. Choose another "
            "path, or restore it from a copy."
        ) from error


def _check_files(folder: Path, expected: dict[str, str]) -> None:
    names, count = sorted(expected), jax.process_count()
    damaged = np.zeros(len(names), np.uint32)
    for i in range(jax.process_index(), len(names), count):  # each process its share
        damaged[i] = _checksum(folder / names[i]) != expected[names[i]]
    damaged = [name for name, is_bad in zip(names, summed(damaged), strict=True) if is_bad]
    if damaged:
        raise ValueError(
            f"the checkpoint {folder.parent} is damaged: {', '.join(damaged)} "
            "missing, truncated or altered. Restore it from a copy, or delete it and run again."
        )


def _check_leaves(path: Path, stored: dict[str, list], wanted: dict[str, list]) -> None:
    def show(leaf):
        return "nothing" if leaf is None else f"shape {tuple(leaf[0])} {leaf[1]}"

    names = [*wanted, *(name for name in stored if name not in wanted)]
    differing = [name for name in names if stored.get(name) != wanted.get(name)]
    if differing:
        lines = "; ".join(
            f"at {name!r} the checkpoint has {show(stored.get(name))}, like has "
            f"{show(wanted.get(name))}"
            for name in differing[:8]
        )
        more = f"; and {len(differing) - 8} more" if len(differing) > 8 else ""
        raise ValueError(f"the checkpoint {path} differs from like: {lines}{more}.")


@contextmanager
def _quiet_orbax() -> Iterator[Any]:
    """Orbax's API, imported late because it is heavy, its log off: what matters is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from orbax.checkpoint import v1 as ocp

        logger = logging.getLogger("absl")
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield ocp
        finally:
            logger.setLevel(level)
