"""Read IDX files, the format of MNIST and its kin."""

import gzip
import zlib
from pathlib import Path

import numpy as np

# 0x00 0x00, the code of unsigned bytes, then the number of dimensions.
_UNSIGNED_BYTE = 0x08
_MAX_BYTES = 2**31


def read_idx(path: str | Path, ndim: int) -> np.ndarray:
    """An array of unsigned bytes from an IDX file, plain or gzipped.

    The header is two zero bytes, the type code 8, the number of dimensions and one big-endian
    32-bit size a dimension; the bytes follow. What the header declares is held against a limit,
    then read and not a byte more, so no file makes this allocate what it does not hold.

    Args:
      path: the file; gzip is told by its content, not its name.
      ndim: the dimensions it must have: 3 for grey images, 1 for labels.

    Returns:
      uint8, of the declared shape.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: names the file, if it is not IDX, holds another type or number of dimensions,
        declares more than 2 GiB, is damaged, or is shorter or longer than it declares.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3]) + bytes([7, 2, 9]))
    >>> print(read_idx(path, ndim=1))
    [7 2 9]
    """
    path = Path(path)
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    opener = gzip.open if zipped else open
    try:
        with opener(path, "rb") as file:
            return _read(file, path, ndim)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is not an intact gzip file ({error}): fetch it again.") from error


def _read(file, path: Path, ndim: int) -> np.ndarray:
    header = file.read(4)
    if len(header) < 4 or header[:2] != b"\0\0":
        raise ValueError(f"{path} starts with {header.hex(' ')}: that is not an IDX file.")
    if header[2] != _UNSIGNED_BYTE:
        raise ValueError(f"{path} holds IDX type 0x{header[2]:02x}: only unsigned bytes (0x08).")
    if header[3] != ndim:
        raise ValueError(f"{path} has {header[3]} dimensions, not {ndim}: is it another file?")
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise ValueError(f"{path} ends within its header: fetch it again.")
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, 4 * ndim, 4))
    return np.frombuffer(_read_exactly(file, path, shape), np.uint8).reshape(shape)


def _read_exactly(file, path: Path, shape: tuple[int, ...]) -> bytes:
    # Python integers: a product in int64 may wrap around to something harmless.
    declared = 1
    for size in shape:
        declared *= size
    if declared > _MAX_BYTES:
        raise ValueError(f"{path} declares {declared} bytes, shape {shape}: more than 2 GiB.")
    content = bytearray()
    while len(content) <= declared:
        # In pieces, for read(n) sets aside n bytes before it knows that they are there.
        piece = file.read(min(2**20, declared + 1 - len(content)))
        if not piece:
            break
        content += piece
    if len(content) != declared:
        found = "more" if len(content) > declared else f"only {len(content)}"
        raise ValueError(
            f"{path} declares {declared} bytes, shape {shape}, but holds {found}: fetch it again."
        )
    return bytes(content)
