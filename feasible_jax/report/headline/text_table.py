"""A table of text."""

from typing import NamedTuple


class TextTable(NamedTuple):
    """A table that is ready to be shown.

    Attributes:
      title: its heading.
      caption: how to read it.
      head: the names of the columns; the first holds names, the others figures.
      rows: their cells.

    >>> TextTable("Cost", "Times.", ("Arm", "Time"), (("plain", "1.0"),)).head
    ('Arm', 'Time')
    """

    title: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
