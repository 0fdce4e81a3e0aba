"""Tables of the page."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from superionic.report.words import UNKNOWN

T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """A table of the page, with all its rows, most of which are folded if there are many.

    Attributes
    ----------
    numeric
        Indices of the columns that are right-aligned, and sorted by number.
    notes
        Remarks to which cells refer by a letter: a, b, …
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    notes: Sequence[str] = ()


def table_of(
    caption: str,
    items: Iterable[T],
    columns: Sequence[tuple[str, Callable[[T], str]]],
    numeric: Collection[int] = (),
    notes: Notes | None = None,
) -> Table:
    """Build a table with a row for each item, from the names of its columns and functions that return the cells."""
    rows = [[cell(item) for _, cell in columns] for item in items]
    return Table(caption, [name for name, _ in columns], rows, frozenset(numeric), notes.words if notes else ())


class Notes:
    """Remarks, each under one letter, to which several rows may refer."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def refer(self, remarks: Sequence[str]) -> str:
        """Return the letters of these remarks."""
        letters = []
        for remark in remarks:
            if remark not in self.words:
                self.words.append(remark)
            letters.append(note_letter(self.words.index(remark)))
        return " ".join(letters) or UNKNOWN


def note_letter(index: int) -> str:
    """Return the letter of a remark: a to z, then aa, ab and so on."""
    first, last = divmod(index, 26)
    return (chr(96 + first) if first else "") + chr(97 + last)
