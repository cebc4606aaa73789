"""Files that are either the old ones or the new ones, never half of both."""

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file aside, then renames it.

    Args:
      path: where to; its folder exists.
      content: all of it.

    Raises:
      OSError: if it cannot be written; a file that was there before is then still there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder) / "a.txt", b"hello")
    ...     (Path(folder) / "a.txt").read_text()
    'hello'
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
