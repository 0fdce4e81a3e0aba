"""What a section of the report is: figures, tables and words of one subject, and its tables as CSV.

A section is data. The page, the files beside it and the page of ``superionic analyse`` are made from sections, so each
subject is described in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from superionic.report.plots import Plot
from superionic.report.table import Table

CsvCell = str | int | float | bool | None


@dataclass(frozen=True)
class Paragraph:
    """Words; ``quiet`` ones are an aside, ``missing`` ones say what is not there and why."""

    words: str
    kind: Literal["plain", "quiet", "missing"] = "plain"


@dataclass(frozen=True)
class CsvTable:
    """A table with all rows and all digits.

    Attributes
    ----------
    name
        Of the file, e.g. ``"hull.csv"``.
    columns
        Names with units, e.g. ``"sigma_S_per_cm"``.
    rows
        One value for each column; None and numbers that are not finite are left empty.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[CsvCell, ...], ...]


Block = Paragraph | Table | Plot


@dataclass(frozen=True)
class Section:
    """One subject.

    Attributes
    ----------
    key
        Its anchor in the page.
    title
        Its heading.
    blocks
        What it shows, in order.
    csv
        Its tables as files.
    """

    key: str
    title: str
    blocks: Sequence[Block]
    csv: Sequence[CsvTable] = ()

    @property
    def plots(self) -> tuple[Plot, ...]:
        """Its figures."""
        return tuple(block for block in self.blocks if isinstance(block, Plot))
