"""Files that are either the old ones or the new ones, and errors that say what to do."""

import errno
import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
# TensorStore, which writes for Orbax, raises no OSError but says this in its text.
_CODE_IN_TEXT = re.compile(r"os_error_code='(\d+)'")


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file aside, then renames it; what killed writers of it left aside is removed first.

    Args:
      path: where to; its folder exists.
      content: all of it.

    Raises:
      OSError: that names the file and says what to do, if it cannot be written; a file that was
        there before is then still there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder) / "a.txt", b"hello")
    ...     (Path(folder) / "a.txt").read_text()
    'hello'
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        _clear_up(path)
        try:
            aside.write_bytes(content)
            sync(aside)
            aside.replace(path)
        finally:
            with suppress(OSError):  # where nothing can be written, nothing was left either
                aside.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of the file system inside the block, in words: what failed, and what to do.

    Args:
      path: what is being written; the caller sees to it that what was there before stays.

    >>> with writing(Path("runs/one")):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    ...
    OSError: runs/one cannot be written (No space left on device): free some space and run ...
    """
    try:
        yield
    except (OSError, ValueError) as error:
        code = _code(error)
        if code is None:
            raise
        raise _kind(code)(
            f"{path} cannot be written ({os.strerror(code)}): {_advice(code)}. What was there "
            "before is untouched."
        ) from error


def check_writable(folder: Path) -> None:
    """Raise unless a folder can be written to, or made; it is left as it is.

    Args:
      folder: it may not exist yet, and neither may its parents.

    Raises:
      OSError: that names the folder and says what to do.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_writable(Path(folder) / "new" / "one")
    """
    folder = Path(folder).absolute()
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    with writing(folder):
        if not there.is_dir():
            raise OSError(errno.ENOTDIR, "")
        effective = os.access in os.supports_effective_ids
        if not os.access(there, os.W_OK | os.X_OK, effective_ids=effective):
            raise OSError(errno.EACCES, "")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear_up(path: Path) -> None:
    """Remove what writers that are dead left beside a file; one that lives may be at it now.

    All are taken for writers on this host.
    """
    for aside in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        writer = aside.name.split(".")[-2]
        if writer.isdigit() and not _lives(int(writer)):
            aside.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _code(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    found = _CODE_IN_TEXT.search(str(error))
    return int(found[1]) if found else None


def _kind(code: int) -> type[OSError]:
    """The class that Python has for an error number, such as ``PermissionError``."""
    return type(OSError(code, ""))


def _advice(code: int) -> str:
    if code in _NO_ROOM:
        return "free some space and run the same again"
    if code in _NOT_ALLOWED:
        return "choose another folder, or change its permissions"
    if code in (errno.ENOTDIR, errno.EEXIST):
        return "a file stands where a folder has to be; choose another folder, or move the file"
    return "see that the folder is there and can be written to"
