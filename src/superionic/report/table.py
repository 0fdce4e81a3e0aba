"""What a table of the page is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from superionic.report.values import Record, text
from superionic.report.words import (
    UNKNOWN,
)

_MOST_ROWS: Final = 30


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes
    ----------
    numeric
        Numbers of the columns that are set flush right.
    more
        How many rows were left out, and the file that has them all.
    notes
        Remarks that cells refer to by a letter: a, b, …
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    more: tuple[int, str] | None = None
    notes: Sequence[str] = ()


def cut(rows: list[list[str]], file: str) -> tuple[list[list[str]], tuple[int, str] | None]:
    """Return the first rows, and how many more stand in the file."""
    return (rows, None) if len(rows) <= _MOST_ROWS else (rows[:_MOST_ROWS], (len(rows) - _MOST_ROWS, file))


class Notes:
    """Remarks that several rows may share, each under one letter."""

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


def cell(record: Record, key: str) -> str:
    """Return the text under `key`, or a dash."""
    return text(record, key) or UNKNOWN
