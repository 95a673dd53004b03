"""Markdown tables."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, one line a row. What Markdown would read as the end of a cell or as a tag is escaped."""
    return "\n".join(_line(cells) for cells in (head, ("---",) * len(head), *rows))


def code(text: object | None) -> str:
    """Text as code; nothing for an empty one or none."""
    return "" if text is None or text == "" else f"`{text}`"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    parts = text.replace("|", "\\|").split("`")  # every other part is code, where `<` is itself
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))
