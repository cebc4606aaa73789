"""Markdown tables."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], body: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table whose first columns are text and whose others are numbers."""
    alignment = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, alignment, *body])
